// The vocabulary's tokens as a trie over their bytes, so that a constraint looks at each common beginning
// once.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "worker/batch/tokens.h"

namespace octet::worker {

class TokenTrie {
 public:
  struct Node {
    uint8_t byte = 0;
    uint16_t depth = 0;        // bytes from the start of the token; at least 1
    uint32_t subtree_end = 0;  // index of the first node after all that begin with this one's bytes
    uint32_t tokens_begin =
        0;  // in tokens(): those whose bytes end here; they end where the next node's begin
  };

  // token_bytes: [vocab_size] what each token adds to a text; tokens without bytes are left out.
  explicit TokenTrie(std::span<const std::string> token_bytes);

  // Each before those that begin with its bytes.
  std::span<const Node> nodes() const { return {nodes_.data(), nodes_.size() - 1}; }
  std::span<const TokenId> tokens(size_t node) const {
    return std::span(tokens_).subspan(nodes_[node].tokens_begin,
                                      nodes_[node + 1].tokens_begin - nodes_[node].tokens_begin);
  }
  uint16_t max_depth() const { return max_depth_; }

 private:
  std::vector<Node> nodes_;  // the last one only ends the tokens of the one before
  std::vector<TokenId> tokens_;
  uint16_t max_depth_ = 0;
};

}  // namespace octet::worker
