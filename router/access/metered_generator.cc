#include "router/access/metered_generator.h"

#include <boost/asio/post.hpp>
#include <utility>

namespace octet::router {
namespace {

// Ids of refused requests, which the inner generator never sees and never gives.
constexpr GenerationId kRefused = GenerationId{1} << 63;

// Charges what passes.
class MeteredSink final : public GenerationSink {
 public:
  MeteredSink(std::shared_ptr<GenerationSink> sink, std::shared_ptr<Account> account, uint32_t prompt_tokens)
      : sink_(std::move(sink)), account_(std::move(account)), prompt_tokens_(prompt_tokens) {}

  void on_prompt_logprobs(std::vector<TokenLogprob> logprobs) override {
    ran_ = true;
    sink_->on_prompt_logprobs(std::move(logprobs));
  }
  void on_piece(Piece piece) override {
    ran_ = true;
    account_->charge_tokens(static_cast<uint32_t>(piece.tokens.size()), now());
    sink_->on_piece(std::move(piece));
  }
  void on_done(const GenerationUsage& usage) override { sink_->on_done(usage); }
  void on_error(const absl::Status& status) override {
    if (!ran_) account_->give_back(prompt_tokens_, now());
    sink_->on_error(status);
  }

 private:
  const std::shared_ptr<GenerationSink> sink_;
  const std::shared_ptr<Account> account_;
  const uint32_t prompt_tokens_;
  bool ran_ = false;
};

}  // namespace

MeteredGenerator::MeteredGenerator(boost::asio::io_context& loop, Generator& inner, RouterMetrics& metrics,
                                   QuotaOf quota_of)
    : loop_(loop), inner_(inner), metrics_(metrics), quota_of_(std::move(quota_of)) {}

GenerationId MeteredGenerator::start(ValidatedRequest request, std::shared_ptr<GenerationSink> sink) {
  const Quota quota = quota_of_(request.tenant.name);
  if (quota == Quota()) return inner_.start(std::move(request), std::move(sink));
  auto account = account_of(request.tenant.name, quota);
  const auto prompt_tokens = static_cast<uint32_t>(request.prompt.size());
  if (absl::Status status = account->admit(prompt_tokens, now()); !status.ok())
    return refuse(std::move(sink), status);
  return inner_.start(std::move(request),
                      std::make_shared<MeteredSink>(std::move(sink), std::move(account), prompt_tokens));
}

void MeteredGenerator::cancel(GenerationId id) {
  if (refused_.erase(id) == 0) inner_.cancel(id);
}

std::shared_ptr<Account> MeteredGenerator::account_of(const std::string& tenant, const Quota& quota) {
  std::shared_ptr<Account>& account = accounts_[tenant];
  if (account == nullptr || account->quota() != quota) account = std::make_shared<Account>(quota, now());
  return account;
}

GenerationId MeteredGenerator::refuse(std::shared_ptr<GenerationSink> sink, const absl::Status& status) {
  metrics_.count_refused_key("quota");
  const GenerationId id = kRefused | ++num_refused_;
  refused_.emplace(id, std::move(sink));
  boost::asio::post(loop_, [this, id, status] {
    if (auto refused = refused_.extract(id)) refused.mapped()->on_error(status);
  });
  return id;
}

}  // namespace octet::router
