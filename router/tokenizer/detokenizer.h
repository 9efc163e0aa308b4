// Turns output tokens into text as they come. What it has given out is always whole UTF-8 characters, is
// never taken back, and adds up to exactly Tokenizer::decode(prompt + output) minus the prompt's text (broken
// bytes as U+FFFD). A prompt that ends inside a character is the exception: its bytes and the output's are
// broken each on their own.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "router/tokenizer/tokenizer.h"

namespace octet::router {

class Detokenizer {
 public:
  // after_prompt: false when the output is the whole text, so that a dummy-prefix space is dropped.
  explicit Detokenizer(std::shared_ptr<const Tokenizer> tokenizer, bool after_prompt = true);
  // For output that follows this prompt: differs from the constructor's default only when the prompt has no
  // text of its own (a lone <s>), so that the output begins the text.
  static Detokenizer after(std::shared_ptr<const Tokenizer> tokenizer, std::span<const TokenId> prompt);

  // Text that this token completes; empty while a character is incomplete.
  std::string add(TokenId token);
  // What is left at the end: each byte of an incomplete character as U+FFFD.
  std::string finish();
  // Whether a space that begins the next token would be dropped.
  bool at_text_start() const { return at_start_; }
  // Bytes of an incomplete character that wait for its others.
  size_t num_pending_bytes() const { return pending_.size(); }

 private:
  void add_byte(std::string_view byte, std::string& text);
  std::string_view without_dropped_space(TokenId token);

  std::shared_ptr<const Tokenizer> tokenizer_;
  bool at_start_;        // a leading space is to be dropped
  std::string pending_;  // bytes of an incomplete character, at most 3
};

}  // namespace octet::router
