// Runs validated requests: starts one sequence for each choice on a pipeline, turns tokens into text, watches
// stop strings, and tells the API what to send. Lives on the router's event loop, like everything it calls
// back.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "router/request/validated_request.h"

namespace octet::router {

enum class FinishReason { kStop, kLength, kDeadline, kCancelled };

// A token as clients see it.
struct TokenLogprob {
  TokenId token = 0;
  float logprob = 0;  // natural logarithm, before temperature, penalties and filters
  std::vector<std::pair<TokenId, float>> top;
};

// New output of one choice. Tokens come with the text they make: a token whose text may belong to a stop
// string waits with that text, so a piece's tokens spell its text. The last piece also has the tokens of the
// stop that ended the choice, though their text is left out: over all pieces, tokens are what was generated
// and what usage counts.
struct Piece {
  uint32_t index = 0;  // of the choice
  std::string text;    // whole UTF-8 characters
  std::vector<TokenId> tokens;
  std::vector<TokenLogprob> logprobs;  // [tokens.size()] when asked for, else empty
  std::optional<FinishReason> finish;  // on the choice's last piece
  std::string stop_reason;             // the stop string or stop piece that ended it, if one did
};

struct GenerationUsage {
  uint32_t prompt_tokens = 0;
  uint32_t completion_tokens = 0;  // over all choices, stop tokens included
  uint32_t cached_tokens = 0;
};

// What an API does with the output. Calls come on the event loop, in order; after on_done or on_error: none.
class GenerationSink {
 public:
  virtual ~GenerationSink() = default;
  // Before the first piece when prompt_logprobs were asked for: one entry a prompt token after the first.
  virtual void on_prompt_logprobs(std::vector<TokenLogprob> logprobs) = 0;
  virtual void on_piece(Piece piece) = 0;
  virtual void on_done(const GenerationUsage& usage) = 0;
  // RESOURCE_EXHAUSTED, UNAVAILABLE, DEADLINE_EXCEEDED before the first piece, INTERNAL.
  virtual void on_error(const absl::Status& status) = 0;
};

using GenerationId = uint64_t;

class Generator {
 public:
  virtual ~Generator() = default;
  // Event loop only. The sink is kept until its last call, and never called before this returns.
  virtual GenerationId start(ValidatedRequest request, std::shared_ptr<GenerationSink> sink) = 0;
  // The client went away: its sequences end and the sink is dropped without another call. Unknown ids are
  // ignored.
  virtual void cancel(GenerationId id) = 0;
};

}  // namespace octet::router
