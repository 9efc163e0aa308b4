// What keeps a sequence's output to a grammar.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "worker/batch/tokens.h"

namespace octet::worker {

struct TokenConstraint {
  // Which texts match, as base/byte_automaton.h serialises it; not null. Only the last stage looks into it.
  std::shared_ptr<const std::string> automaton;
  // Tokens that end the sequence: allowed exactly where the output matches.
  std::vector<TokenId> end_tokens;
  // No text stands before the output, so that the tokenizer takes a space from its beginning.
  bool begins_text = false;

  bool operator==(const TokenConstraint& other) const {
    return *automaton == *other.automaton && end_tokens == other.end_tokens &&
           begins_text == other.begins_text;
  }
};

}  // namespace octet::worker
