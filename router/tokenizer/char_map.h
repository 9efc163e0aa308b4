// SentencePiece's compiled character rules (NFKC and the like): which stretch of text is replaced by what.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace octet::router {

class CharMap {
 public:
  // No rules.
  CharMap() = default;
  // charsmap as the model file has it: the size of a double-array trie in bytes (32 bits), the trie, and the
  // replacements, each ended by a zero byte. Errors: INVALID_ARGUMENT when sizes do not fit, a replacement is
  // not UTF-8.
  static absl::StatusOr<CharMap> parse(std::string_view charsmap);

  struct Rule {
    size_t num_bytes;              // of text that the rule replaces
    std::string_view replacement;  // lives as long as the CharMap
  };
  // The longest rule that applies at the front of text.
  std::optional<Rule> match_front(std::string_view text) const;

 private:
  std::vector<uint32_t> trie_;
  std::string replacements_;
};

}  // namespace octet::router
