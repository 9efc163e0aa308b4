#include "router/generation/choice.h"

#include <utility>

namespace octet::router {

Choice::Choice(std::shared_ptr<const Tokenizer> tokenizer, const ValidatedRequest& request, uint32_t index)
    : tokenizer_(std::move(tokenizer)),
      index_(index),
      include_stop_(request.include_stop),
      want_logprobs_(request.logprobs.has_value()),
      detokenizer_(Detokenizer::after(tokenizer_, request.prompt)),
      stop_matcher_(request.stop,
                    request.include_stop ? StopMatcher::Keep::kKeepStop : StopMatcher::Keep::kDropStop) {}

void Choice::add(TokenLogprob token) {
  if (matched_) return;
  ++num_tokens_;
  const std::string text = detokenizer_.add(token.token);
  num_text_bytes_ += text.size();
  if (!text.empty()) close_waiting();
  waiting_.push_back({.token = std::move(token), .end = std::nullopt});
  if (detokenizer_.num_pending_bytes() == 0) close_waiting();
  add_text(text);
}

void Choice::close_waiting() {
  for (auto it = waiting_.rbegin(); it != waiting_.rend() && !it->end; ++it) it->end = num_text_bytes_;
}

void Choice::add_stop_token(TokenLogprob token) {
  if (matched_) return;
  stop_piece_ = tokenizer_->piece(token.token);
  if (include_stop_) return add(std::move(token));
  ++num_tokens_;
  waiting_.push_back({.token = std::move(token), .end = std::nullopt});
}

void Choice::add_text(const std::string& text) {
  if (text.empty()) return;
  StopMatcher::Result result = stop_matcher_.add(text);
  num_safe_bytes_ += result.text.size();
  safe_text_ += result.text;
  matched_ = std::move(result.matched);
}

Piece Choice::take() {
  Piece piece;
  piece.index = index_;
  if (matched_) return piece;  // finish() is next
  while (!waiting_.empty() && waiting_.front().end && *waiting_.front().end <= num_safe_bytes_) {
    release_text(*waiting_.front().end, piece);
    release(std::move(waiting_.front()), piece);
    waiting_.pop_front();
  }
  return piece;
}

Piece Choice::finish(FinishReason reason) {
  Piece piece;
  piece.index = index_;
  if (!matched_) {
    const std::string tail = detokenizer_.finish();
    num_text_bytes_ += tail.size();
    add_text(tail);
  }
  if (!matched_) {
    const std::string held = stop_matcher_.finish();
    num_safe_bytes_ += held.size();
    safe_text_ += held;
  }
  release_text(num_safe_bytes_, piece);
  for (Waiting& waiting : waiting_) release(std::move(waiting), piece);
  waiting_.clear();
  piece.finish = matched_ ? FinishReason::kStop : reason;
  if (matched_) {
    piece.stop_reason = *matched_;
  } else if (reason == FinishReason::kStop) {
    piece.stop_reason = stop_piece_;
  }
  return piece;
}

void Choice::release(Waiting waiting, Piece& piece) const {
  piece.tokens.push_back(waiting.token.token);
  if (want_logprobs_) piece.logprobs.push_back(std::move(waiting.token));
}

void Choice::release_text(uint64_t end, Piece& piece) {
  const size_t num_bytes = end - num_released_bytes_;
  piece.text.append(safe_text_, 0, num_bytes);
  safe_text_.erase(0, num_bytes);
  num_released_bytes_ = end;
}

}  // namespace octet::router
