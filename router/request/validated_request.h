// A request that cannot be wrong any more: the only thing that generation takes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "router/request/request_draft.h"
#include "router/tokenizer/chat_template.h"
#include "router/tokenizer/tokenizer.h"

namespace octet::router {

// What the router knows of the model that it serves.
struct ModelInfo {
  std::string name;
  uint32_t max_model_len = 0;  // tokens of prompt and output
  uint32_t vocab_size = 0;
  std::string backend;
};

// Lower temperatures mean greedy: dividing logits by them would overflow.
inline constexpr float kMinTemperature = 1e-5F;

// Every field in range, every default filled in.
struct Sampling {
  float temperature = 1;  // 0: greedy; else at least kMinTemperature
  uint32_t top_k = 0;     // at most the vocabulary size; 0: all
  float top_p = 1;
  float min_p = 0;
  float repetition_penalty = 1;
  RepetitionRule repetition_rule = RepetitionRule::kDivideOrMultiply;
  float presence_penalty = 0;
  float frequency_penalty = 0;
  std::vector<std::pair<TokenId, float>> logit_bias;
  // As the words' tokens come in the middle of a text, each with and without a space before it where these
  // differ.
  std::vector<std::vector<TokenId>> bad_words;
  uint64_t seed = 0;  // the client's, or drawn
};

// What the output has to match.
struct OutputConstraint {
  std::shared_ptr<const std::string> automaton;  // serialised (base/byte_automaton.h)
  bool begins_text = false;                      // no text stands before the output
};

struct ValidatedRequest {
  std::string request_id;       // the client's, or made
  std::vector<TokenId> prompt;  // at least one token
  Sampling sampling;
  uint32_t max_tokens = 0;  // at least 1; prompt + max_tokens <= max_model_len
  uint32_t min_tokens = 0;
  std::vector<std::string> stop;
  std::vector<TokenId>
      stop_token_ids;  // ascending; end of sequence and end of turn included unless ignore_eos
  // What may not come before min_tokens; absent: every one of stop_token_ids. (NeMo's server holds back only
  // eos.)
  std::optional<std::vector<TokenId>> suppressed_before_min_tokens;
  bool include_stop = false;
  uint32_t num_choices = 1;
  std::optional<uint32_t> logprobs;  // number of alternatives
  std::optional<uint32_t> prompt_logprobs;
  std::optional<OutputConstraint> constraint;
  bool streamed = true;  // the client hears of tokens as they come
  Time deadline = kNoDeadline;
  Tenant tenant;
  int32_t priority = 0;                // lower runs first; within kMinPriority and kMaxPriority
  std::string session;                 // requests of one go to one pipeline while they can; empty: none
  std::shared_ptr<CallRecord> record;  // of the call; null: calls are not recorded
};

// Limits of one router, from flags.
struct RequestLimits {
  uint32_t max_choices = 128;
  uint32_t max_stop_strings = 16;
  uint32_t max_stop_bytes = 256;
  uint32_t max_stop_token_ids = 64;
  uint32_t max_bad_words = 64;
  uint32_t max_bad_word_bytes = 256;
  uint32_t max_logit_bias = 1024;
  uint32_t max_logprobs = 20;
  uint32_t max_messages = 1024;
  uint32_t max_session_bytes = 256;
  uint64_t max_automaton_bytes = 4 << 20;  // of all choices together
  Duration max_timeout = std::chrono::hours(1);
  Duration default_timeout = std::chrono::minutes(10);
};

// What validation needs beside the draft.
struct ValidationContext {
  std::shared_ptr<const Tokenizer> tokenizer;
  const ChatTemplate* chat_template = nullptr;
  ModelInfo model;
  RequestLimits limits;
};

// Checks every field, tokenises the prompt, fills in defaults, draws a seed and a request id when absent,
// and tells the record what is asked for.
// Errors: invalid_field() with the name of generation.proto, the limit and the given value, never with a
// prompt's or a stop string's text; NOT_FOUND for another model; FAILED_PRECONDITION when the tokenizer has
// more pieces than the model. The prompt's field is "prompt" for text and token ids, "messages",
// "messages[i].role" or "messages[i].content" for a chat. Other fields that hold lists are named without an
// index; the sentence has it.
absl::StatusOr<ValidatedRequest> validate(RequestDraft draft, const ValidationContext& context, Time now);

// Parts of validate() for calls that only tokenise or score.
//
// NOT_FOUND when model is neither empty nor the one served.
absl::Status check_model(std::string_view model, const ModelInfo& served);
// The prompt's tokens, at least one. A text that cannot fit into the context by its size alone is refused
// before any work; whether the tokens fit is for the caller to check.
absl::StatusOr<std::vector<TokenId>> tokenize_prompt(const Prompt& prompt, bool add_bos,
                                                     const ValidationContext& context);

}  // namespace octet::router
