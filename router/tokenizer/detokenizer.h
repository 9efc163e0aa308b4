// Turns output tokens into text as they come. What it has given out is always whole UTF-8 characters, is never taken
// back, and adds up to exactly Tokenizer::decode(prompt + output) minus the prompt's text (broken bytes as U+FFFD).
#pragma once

#include <memory>
#include <string>

#include "router/tokenizer/tokenizer.h"

namespace octet::router {

class Detokenizer {
 public:
  // after_prompt: false when the output is the whole text, so that a dummy-prefix space is dropped.
  explicit Detokenizer(std::shared_ptr<const Tokenizer> tokenizer, bool after_prompt = true);

  // Text that this token completes; empty while a character is incomplete.
  std::string add(TokenId token);
  // What is left at the end: an incomplete character as U+FFFD.
  std::string finish();

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  bool at_start_;
  std::string pending_;  // bytes of an incomplete character
};

}  // namespace octet::router
