#include "router/tokenizer/detokenizer.h"

#include <utility>

#include "base/utf8.h"

namespace octet::router {

Detokenizer::Detokenizer(std::shared_ptr<const Tokenizer> tokenizer, bool after_prompt)
    : tokenizer_(std::move(tokenizer)), at_start_(!after_prompt && tokenizer_->strips_leading_space()) {}

Detokenizer Detokenizer::after(std::shared_ptr<const Tokenizer> tokenizer, std::span<const TokenId> prompt) {
  Detokenizer detokenizer(std::move(tokenizer), /*after_prompt=*/false);
  // The first token with text settles it; control tokens before it are few.
  for (const TokenId token : prompt) {
    if (!detokenizer.at_start_) break;
    detokenizer.add(token);
  }
  detokenizer.pending_.clear();
  return detokenizer;
}

std::string Detokenizer::add(TokenId token) {
  std::string text;
  if (tokenizer_->is_byte(token)) {
    add_byte(tokenizer_->bytes(token), text);
  } else {
    text = finish();  // any other token ends a run of byte pieces
    if (!text.empty()) at_start_ = false;
    text.append(without_dropped_space(token));
  }
  if (!text.empty()) at_start_ = false;
  return text;
}

// Moves what can be decided about the pending bytes into text.
void Detokenizer::add_byte(std::string_view byte, std::string& text) {
  pending_.append(byte);
  while (!pending_.empty()) {
    const Utf8Scan scan = scan_utf8(pending_);
    if (scan.front == Utf8Front::kIncomplete) return;
    const bool whole = scan.front == Utf8Front::kCharacter;
    text.append(whole ? std::string_view(pending_).substr(0, scan.num_bytes) : kReplacementCharacter);
    pending_.erase(0, scan.num_bytes);
  }
}

std::string_view Detokenizer::without_dropped_space(TokenId token) {
  std::string_view bytes = tokenizer_->bytes(token);
  // Pieces other than <unk> begin with a space exactly when they begin with U+2581.
  const bool dropped = at_start_ && bytes.starts_with(' ') && !tokenizer_->is_unknown(token);
  if (!dropped) return bytes;
  bytes.remove_prefix(1);
  if (tokenizer_->leading_space() == LeadingSpace::kFirstDropped) at_start_ = false;
  return bytes;
}

std::string Detokenizer::finish() {
  return replace_invalid_utf8(std::exchange(pending_, {}));
}

}  // namespace octet::router
