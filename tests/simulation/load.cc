// The requests of a run and what their clients do.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "tests/simulation/world.h"

namespace octet::simulation {
namespace {

constexpr int kNumBeginnings = 4;
constexpr int kNumTenants = 3;
constexpr uint32_t kProbeTokens = 10;  // few enough that no limit refuses them

}  // namespace

void World::plan_load() {
  for (int i = 0; i < kNumBeginnings; ++i) beginnings_.push_back(draw_prompt(model_.max_model_len / 2));
  for (int i = 0; i < scenario_.num_requests; ++i) {
    runtime_.after(runtime_.between(Duration(0), scenario_.load_time), nullptr, [this] {
      Place* const place = any(Kind::kRouter);
      if (place != nullptr) begin_call(draw_request(), *place, false);
    });
  }
}

std::vector<router::TokenId> World::draw_prompt(uint32_t max_tokens) {
  std::vector<router::TokenId> tokens(runtime_.between(1, max_tokens));
  for (router::TokenId& token : tokens)
    token = static_cast<router::TokenId>(runtime_.between(300, model_.hash.vocabulary.size - 1));
  return tokens;
}

router::ValidatedRequest World::draw_request() {
  router::ValidatedRequest request;
  const uint32_t longest = runtime_.chance(scenario_.long_prompts) ? model_.max_model_len * 3 / 4 : 12;
  request.prompt = draw_prompt(longest);
  if (runtime_.chance(scenario_.shared_beginnings)) {
    std::vector<router::TokenId> prompt = beginnings_[runtime_.between(0, kNumBeginnings - 1)];
    prompt.insert(prompt.end(), request.prompt.begin(), request.prompt.end());
    prompt.resize(std::min<size_t>(prompt.size(), model_.max_model_len * 3 / 4));
    request.prompt = std::move(prompt);
  }
  const auto left = model_.max_model_len - static_cast<uint32_t>(request.prompt.size());
  request.max_tokens = static_cast<uint32_t>(runtime_.between(1, left));
  if (!runtime_.chance(0.1)) request.stop_token_ids = {model_.hash.vocabulary.eos};
  if (runtime_.chance(0.1))
    request.stop_token_ids.push_back(static_cast<router::TokenId>(runtime_.between(1000, 1100)));
  if (runtime_.chance(0.1))
    request.min_tokens = static_cast<uint32_t>(runtime_.between(1, request.max_tokens));
  if (runtime_.chance(0.2)) {
    request.stop = {std::string(1, static_cast<char>('a' + runtime_.between(0, 25)))};
    if (runtime_.chance(0.5)) request.stop.back() += static_cast<char>('a' + runtime_.between(0, 25));
    request.include_stop = runtime_.chance(0.3);
  }
  if (runtime_.chance(0.2)) request.logprobs = static_cast<uint32_t>(runtime_.between(0, 3));
  if (runtime_.chance(0.1)) request.prompt_logprobs = static_cast<uint32_t>(runtime_.between(0, 3));
  if (runtime_.chance(scenario_.many_choices))
    request.num_choices = static_cast<uint32_t>(runtime_.between(2, 4));
  request.streamed = runtime_.chance(0.7);
  request.sampling.seed = runtime_.random()();
  request.tenant.name = absl::StrCat("tenant", runtime_.between(0, kNumTenants - 1));
  request.tenant.weight = static_cast<double>(runtime_.between(1, 3));
  if (runtime_.chance(0.2)) request.priority = static_cast<int32_t>(runtime_.between(0, 4)) - 2;
  if (runtime_.chance(0.2)) request.session = absl::StrCat("session", runtime_.between(0, 5));
  return request;
}

void World::begin_call(const router::ValidatedRequest& drawn, Place& place, bool must_end_whole) {
  runtime_.after(Duration(0), place.process, [this, drawn, &place, process = place.process, must_end_whole] {
    if (!place.router) return;
    router::ValidatedRequest request = drawn;
    if (!must_end_whole && runtime_.chance(scenario_.deadlines)) {
      request.deadline =
          now() + runtime_.between(Duration(std::chrono::milliseconds(1)), Duration(std::chrono::seconds(8)));
    }
    const std::string name = absl::StrCat(calls_.size());
    request.request_id = name;
    const Call::Rules rules{.clocks_may_leap = scenario_.faults.contains(Fault::kLeap),
                            .must_end_whole = must_end_whole};
    const auto call = std::make_shared<Call>(name, request, model_, rules);
    calls_.push_back({call, process});
    checks_.trace(absl::StrCat("request ", name, ": ", request.prompt.size(), " tokens of prompt, ",
                               request.max_tokens, " to come, ", request.num_choices, " choices"));
    call->started();
    const router::GenerationId id = place.router->start(request, call);
    if (!must_end_whole && runtime_.chance(scenario_.cancels)) draw_client(call, place, id);
  });
}

// A client that goes away: after some time, or inside a call with a piece.
void World::draw_client(const std::shared_ptr<Call>& call, Place& place, router::GenerationId id) {
  const auto cancel = [&place, process = place.process, weak = std::weak_ptr(call), id] {
    const auto self = weak.lock();
    if (!self || place.process != process || self->outcome() != Outcome::kRunning) return;
    self->end(Outcome::kCancelled);
    place.router->cancel(id);
  };
  if (runtime_.chance(0.5)) {
    runtime_.after(runtime_.between(Duration(0), Duration(std::chrono::seconds(2))), place.process, cancel);
  } else {
    call->after_piece = [cancel, left = runtime_.between(0, 20)]() mutable {
      if (left-- == 0) cancel();
    };
  }
}

// A small request to each router, which nothing keeps from its whole answer.
void World::probe() {
  for (const auto& place : places_) {
    if (place->kind != Kind::kRouter) continue;
    router::ValidatedRequest request = draw_request();
    request.prompt.resize(std::min<size_t>(request.prompt.size(), kProbeTokens));
    request.max_tokens = std::min(request.max_tokens, model_.max_model_len - kProbeTokens);
    request.num_choices = 1;
    begin_call(request, *place, true);
  }
}

}  // namespace octet::simulation
