// The text state of one sequence: tokens go in, pieces come out whose tokens spell their text. Knows nothing
// of pipelines, deadlines or clients.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "router/generation/generation.h"
#include "router/request/validated_request.h"
#include "router/tokenizer/detokenizer.h"
#include "router/tokenizer/stop_matcher.h"
#include "router/tokenizer/tokenizer.h"

namespace octet::router {

// A token waits with its text: while a character is incomplete, and while the text may belong to a stop
// string. Text leaves at the ends of tokens, so every piece is spelled by its tokens. The last piece has all
// tokens that are left, those of a stop whose text is left out too: over all pieces, tokens are what was
// generated.
class Choice {
 public:
  Choice(std::shared_ptr<const Tokenizer> tokenizer, const ValidatedRequest& request, uint32_t index);

  // The next output token, any id. Ignored after a stop string was matched.
  void add(TokenLogprob token);
  // The token that ended the sequence because it is one of request.stop_token_ids. Its text is left out
  // unless the request includes stops. Ignored after a stop string was matched.
  void add_stop_token(TokenLogprob token);
  // Whether the text reached a stop string: the sequence need not go on.
  bool matched_stop() const { return matched_.has_value(); }

  // What may be shown now; empty when everything waits.
  Piece take();
  // The last piece: all that is left. After a matched stop string the reason is kStop whatever is given.
  Piece finish(FinishReason reason);

  // Tokens taken, stop tokens included.
  uint32_t num_tokens() const { return num_tokens_; }

 private:
  struct Waiting {
    TokenLogprob token;
    // Bytes of the whole text up to the end of the token's own; absent while its character is incomplete.
    std::optional<uint64_t> end;
  };

  // The text of the tokens that wait for theirs is all there now.
  void close_waiting();
  // Runs text through the stop strings.
  void add_text(const std::string& text);
  void release(Waiting waiting, Piece& piece) const;
  // Moves shown text up to this many bytes of the whole text into the piece.
  void release_text(uint64_t end, Piece& piece);

  const std::shared_ptr<const Tokenizer> tokenizer_;
  const uint32_t index_;
  const bool include_stop_;
  const bool want_logprobs_;
  Detokenizer detokenizer_;
  StopMatcher stop_matcher_;

  std::deque<Waiting> waiting_;
  uint64_t num_text_bytes_ = 0;      // that the detokenizer gave out
  uint64_t num_safe_bytes_ = 0;      // of these, that may be shown
  uint64_t num_released_bytes_ = 0;  // of these, that left in pieces
  std::string safe_text_;            // bytes [num_released_bytes_, num_safe_bytes_) of the whole text
  std::optional<std::string> matched_;
  std::string stop_piece_;  // the stop token's piece
  uint32_t num_tokens_ = 0;
};

}  // namespace octet::router
