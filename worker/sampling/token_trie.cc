#include "worker/sampling/token_trie.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "base/check.h"

namespace octet::worker {

TokenTrie::TokenTrie(std::span<const std::string> token_bytes) {
  tokens_.resize(token_bytes.size());
  std::iota(tokens_.begin(), tokens_.end(), TokenId{0});
  std::erase_if(tokens_, [&](TokenId token) { return token_bytes[token].empty(); });
  std::stable_sort(tokens_.begin(), tokens_.end(),
                   [&](TokenId a, TokenId b) { return token_bytes[a] < token_bytes[b]; });
  std::vector<size_t> path;  // nodes of the last token's bytes
  const std::string* last = nullptr;
  const auto leave = [&](size_t depth) {
    for (; path.size() > depth; path.pop_back()) {
      nodes_[path.back()].subtree_end = static_cast<uint32_t>(nodes_.size());
    }
  };
  for (uint32_t i = 0; i < tokens_.size(); ++i) {
    const std::string& bytes = token_bytes[tokens_[i]];
    OCTET_CHECK(bytes.size() <= std::numeric_limits<uint16_t>::max(), "a token of ", bytes.size(), " bytes");
    size_t num_common = 0;
    if (last != nullptr) {
      num_common =
          std::mismatch(bytes.begin(), bytes.end(), last->begin(), last->end()).first - bytes.begin();
    }
    leave(num_common);
    while (path.size() < bytes.size()) {
      const auto byte = static_cast<uint8_t>(bytes[path.size()]);
      path.push_back(nodes_.size());
      nodes_.push_back({.byte = byte, .depth = static_cast<uint16_t>(path.size()), .tokens_begin = i});
    }
    max_depth_ = std::max(max_depth_, static_cast<uint16_t>(bytes.size()));
    last = &bytes;
  }
  leave(0);
  nodes_.push_back({.tokens_begin = static_cast<uint32_t>(tokens_.size())});
}

}  // namespace octet::worker
