// A generator that holds tenants to their quotas and leaves the rest to another one.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "router/access/account.h"
#include "router/generation/generation.h"
#include "router/metrics.h"

namespace octet::router {

// Event loop only. All of what it is given lives until the loop has stopped.
class MeteredGenerator final : public Generator {
 public:
  using QuotaOf = std::function<Quota(const std::string& tenant)>;
  MeteredGenerator(boost::asio::io_context& loop, Generator& inner, RouterMetrics& metrics, QuotaOf quota_of);

  // Over the quota: RESOURCE_EXHAUSTED through the sink.
  GenerationId start(ValidatedRequest request, std::shared_ptr<GenerationSink> sink) override;
  void cancel(GenerationId id) override;

 private:
  std::shared_ptr<Account> account_of(const std::string& tenant, const Quota& quota);
  GenerationId refuse(std::shared_ptr<GenerationSink> sink, const absl::Status& status);

  boost::asio::io_context& loop_;
  Generator& inner_;
  RouterMetrics& metrics_;
  const QuotaOf quota_of_;
  std::unordered_map<std::string, std::shared_ptr<Account>> accounts_;  // by tenant: names of the keys' file
  uint64_t num_refused_ = 0;
  std::unordered_map<GenerationId, std::shared_ptr<GenerationSink>> refused_;  // and not told yet
};

}  // namespace octet::router
