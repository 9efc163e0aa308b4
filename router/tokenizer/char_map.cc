#include "router/tokenizer/char_map.h"

#include <cstring>

#include "absl/status/status.h"
#include "base/utf8.h"

namespace octet::router {
namespace {

// A unit of the trie (Darts-clone): bits 0-7 the byte that leads here, bit 8 whether a rule ends here, bit 9
// whether the offset is in units of 256, bits 10-31 the offset; in a unit that holds a rule's value bit 31 is
// set and the rest is it.
uint32_t label(uint32_t unit) {
  return unit & 0x800000FFU;
}
bool ends_rule(uint32_t unit) {
  return (unit >> 8 & 1U) != 0;
}
uint32_t offset(uint32_t unit) {
  return (unit >> 10) << ((unit & 0x200U) >> 6);
}
uint32_t value(uint32_t unit) {
  return unit & 0x7FFFFFFFU;
}

}  // namespace

absl::StatusOr<CharMap> CharMap::parse(std::string_view charsmap) {
  uint32_t num_trie_bytes = 0;
  if (charsmap.size() < sizeof(num_trie_bytes))
    return absl::InvalidArgumentError("has broken character rules");
  std::memcpy(&num_trie_bytes, charsmap.data(), sizeof(num_trie_bytes));
  charsmap.remove_prefix(sizeof(num_trie_bytes));
  if (num_trie_bytes % sizeof(uint32_t) != 0 || num_trie_bytes == 0 || num_trie_bytes >= charsmap.size() ||
      charsmap.back() != '\0' || !is_valid_utf8(charsmap.substr(num_trie_bytes))) {
    return absl::InvalidArgumentError("has broken character rules");
  }
  CharMap map;
  map.trie_.resize(num_trie_bytes / sizeof(uint32_t));
  std::memcpy(map.trie_.data(), charsmap.data(), num_trie_bytes);
  map.replacements_ = charsmap.substr(num_trie_bytes);
  return map;
}

std::optional<CharMap::Rule> CharMap::match_front(std::string_view text) const {
  if (trie_.empty()) return std::nullopt;
  std::optional<Rule> longest;
  uint32_t at = offset(trie_[0]);
  for (size_t i = 0; i < text.size(); ++i) {
    const uint32_t byte = static_cast<unsigned char>(text[i]);
    at ^= byte;
    if (at >= trie_.size() || label(trie_[at]) != byte) break;
    const uint32_t unit = trie_[at];
    at ^= offset(unit);
    if (at >= trie_.size()) break;
    if (ends_rule(unit) && value(trie_[at]) < replacements_.size()) {
      // Ends at a zero byte, which parse() made sure of.
      longest = Rule{.num_bytes = i + 1, .replacement = replacements_.c_str() + value(trie_[at])};
    }
  }
  return longest;
}

}  // namespace octet::router
