// A router's process from admission on: the real generator, queue, pool and pipeline clients on a real event
// loop, whose streams to the leads are on the virtual network.
#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <memory>
#include <string>
#include <vector>

#include "router/generation/pipeline_generator.h"
#include "router/metrics.h"
#include "router/routing/pipeline_pool.h"

namespace octet::simulation {

struct RouterSettings {
  router::PipelinePool::Options pool;
  router::PipelineGenerator::Limits limits;
  std::vector<std::string> leads;
};

// Made, used and destroyed on fibers of its process.
class RouterHost {
 public:
  RouterHost(const RouterSettings& settings, std::shared_ptr<const router::Tokenizer> tokenizer);
  ~RouterHost();

  router::GenerationId start(router::ValidatedRequest request, std::shared_ptr<router::GenerationSink> sink);
  void cancel(router::GenerationId id);

  size_t num_requests() const { return generator_.num_requests(); }
  void drain() { generator_.drain(); }
  size_t num_ready() const { return pool_.num_ready(); }
  // Which of its limits it is past now, if it is past one; at_rest: it should have nothing at all.
  std::string exceeded(bool at_rest);
  // From now on it has these pipelines.
  void use(const std::vector<std::string>& leads);

 private:
  const RouterSettings settings_;
  router::RouterMetrics metrics_;
  boost::asio::io_context loop_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  router::PipelinePool pool_;
  router::PipelineGenerator generator_;
};

}  // namespace octet::simulation
