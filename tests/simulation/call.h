// One client's request and what came of it, checked against what the fake model gives to the request alone.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "router/generation/generation.h"
#include "router/request/validated_request.h"
#include "router/tokenizer/tokenizer.h"
#include "tests/simulation/hash_model.h"

namespace octet::simulation {

// What the clients know of the model.
struct ClientModel {
  HashModel hash;
  uint32_t max_model_len = 0;
  std::shared_ptr<const router::Tokenizer> tokenizer;
};

enum class Outcome {
  kRunning,
  kWhole,       // every choice to its end
  kDeadline,    // some choices ended by the deadline, or nothing came before it
  kRefused,     // before it was admitted
  kFailed,      // UNAVAILABLE after it was admitted
  kDisplaced,   // another took its place in the queue
  kCancelled,   // by the client
  kRouterLost,  // the router's process ended
};

class Call final : public router::GenerationSink {
 public:
  struct Rules {
    bool clocks_may_leap = false;  // so deadlines may come early
    bool must_end_whole = false;
  };
  Call(std::string name, router::ValidatedRequest request, const ClientModel& model, const Rules& rules);

  const router::ValidatedRequest& request() const { return request_; }
  const std::string& name() const { return name_; }
  Outcome outcome() const { return outcome_; }
  uint32_t num_tokens() const { return num_tokens_; }

  // The request was handed to its router now; from the next moment on it is admitted.
  void started();
  // No call may come any more.
  void end(Outcome outcome);
  // Called with every piece.
  std::function<void()> after_piece;

  void on_prompt_logprobs(std::vector<router::TokenLogprob> logprobs) override;
  void on_piece(router::Piece piece) override;
  void on_done(const router::GenerationUsage& usage) override;
  void on_error(const absl::Status& status) override;

 private:
  struct Choice {
    std::vector<router::TokenLogprob> expected_tokens;
    std::string expected_text;
    router::FinishReason expected_finish = router::FinishReason::kLength;
    std::string expected_stop;
    size_t num_tokens = 0;
    std::string text;
    std::optional<router::FinishReason> finish;
  };
  Choice expect(uint32_t index) const;
  void check_tokens(Choice& choice, const router::Piece& piece);
  void check_end(const Choice& choice, const router::Piece& piece);
  bool deadline_has_passed() const;
  template <typename... Parts>
  void wrong(const Parts&... parts) const;

  const std::string name_;
  const router::ValidatedRequest request_;
  const ClientModel& model_;
  const Rules rules_;
  std::vector<Choice> choices_;
  bool has_prompt_logprobs_ = false;
  Duration start_time_{};
  uint32_t num_tokens_ = 0;
  Outcome outcome_ = Outcome::kRunning;
};

}  // namespace octet::simulation
