#include "router/api/generation_call.h"

#include <exception>
#include <utility>

#include "base/log.h"
#include "base/status.h"
#include "router/access/api_keys.h"
#include "router/api/error_mapping.h"
#include "router/tracing/call_record.h"

namespace octet::router {
namespace {

constexpr Duration kRetryAfter = std::chrono::seconds(1);

}  // namespace

// One generation's way back to the call.
class GenerationCall::Sink final : public GenerationSink {
 public:
  Sink(std::shared_ptr<GenerationCall> call, size_t prompt) : call_(std::move(call)), prompt_(prompt) {}

  void on_prompt_logprobs(std::vector<TokenLogprob> logprobs) override {
    pass([&](GenerationCall& call) { call.on_prompt_logprobs(prompt_, std::move(logprobs)); });
  }
  void on_piece(Piece piece) override {
    pass([&](GenerationCall& call) { call.on_piece(prompt_, std::move(piece)); });
  }
  void on_done(const GenerationUsage& usage) override {
    pass([&](GenerationCall& call) { call.finish_prompt(prompt_, usage); });
  }
  void on_error(const absl::Status& status) override {
    pass([&](GenerationCall& call) {
      call.generations_[prompt_].running = false;
      call.fail(status);
    });
  }

 private:
  template <typename Call>
  void pass(Call event) {
    const auto call = call_;  // the event may end the call, and this sink with it
    if (call->ended_ || !call->generations_[prompt_].running) return;
    call->guarded([&] { event(*call); });
  }

  const std::shared_ptr<GenerationCall> call_;
  const size_t prompt_;
};

GenerationCall::GenerationCall(ServiceContext& context, std::string api,
                               std::shared_ptr<HttpResponder> responder)
    : context_(context), api_(std::move(api)), responder_(std::move(responder)) {}

void GenerationCall::run(std::vector<ValidatedRequest> requests) {
  responder_->on_close([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->abandon();
  });
  record_ = requests.front().record;
  generations_.resize(requests.size(), Generation{.id = 0, .running = true});
  num_unfinished_ = requests.size();
  for (size_t i = 0; i < requests.size() && !ended_; ++i) {
    guarded([&] {
      generations_[i].id =
          context_.generator.start(std::move(requests[i]), std::make_shared<Sink>(shared_from_this(), i));
    });
  }
}

void GenerationCall::stop(size_t prompt) {
  if (!generations_[prompt].running) return;
  context_.generator.cancel(generations_[prompt].id);
  finish_prompt(prompt, {});
}

template <typename Call>
void GenerationCall::guarded(Call call) {
  try {
    call();
  } catch (const std::exception& e) {
    spdlog::error("{}: an answer failed: {}", api_, loggable(e.what()));
    fail(absl::InternalError("internal error"));
  }
}

void GenerationCall::finish_prompt(size_t prompt, const GenerationUsage& usage) {
  generations_[prompt].running = false;
  usage_.prompt_tokens += usage.prompt_tokens;
  usage_.completion_tokens += usage.completion_tokens;
  usage_.cached_tokens += usage.cached_tokens;
  if (--num_unfinished_ > 0) return;
  on_done(usage_);
  end(absl::OkStatus());
}

void GenerationCall::fail(const absl::Status& status) {
  if (ended_) return;
  end(status);
  try {
    on_error(status);
  } catch (const std::exception& e) {
    // Nothing can be said any more; letting go of the responder ends the connection.
    spdlog::error("{}: an error could not be sent: {}", api_, loggable(e.what()));
  }
}

void GenerationCall::abandon() {
  if (!ended_) end(absl::CancelledError("the client went away"));
}

void GenerationCall::end(const absl::Status& status) {
  ended_ = true;
  for (Generation& generation : generations_) {
    if (generation.running) context_.generator.cancel(generation.id);
    generation.running = false;
  }
  if (record_) record_->status = status;
  context_.metrics.count_request(api_, outcome_label(status));
}

Tenant tenant_of(const HttpRequest& request) {
  return request.key ? request.key->tenant : Tenant();
}

absl::StatusOr<ValidationContext> validation_context(const ServiceContext& context) {
  if (context.validation) return context.validation();
  return unavailable("no pipeline is ready", kRetryAfter);
}

}  // namespace octet::router
