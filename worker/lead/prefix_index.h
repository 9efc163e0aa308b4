// Which block of the KV cache holds which content. A content is a full block of tokens, all tokens before it
// and the sequence's salt, since keys and values depend on all of them. Finds by hash and then compares
// everything: a hash is never trusted alone. Who holds a block, and when its content goes, is BlockPool's to
// know.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "worker/batch/tokens.h"
#include "worker/lead/prefix_observer.h"

namespace octet::worker {

// Names a content that was in the index once; never given to another. 0 is that of no tokens at all.
using ContentId = uint64_t;

// A full block at the end of a prefix.
struct PrefixBlock {
  uint64_t hash = 0;                // of the whole prefix; base/prefix_hash.h
  ContentId parent = 0;             // of the prefix before the block
  std::string_view salt;            // decides where parent is 0; else it is the parent's
  std::span<const TokenId> tokens;  // [block_size]
};

struct CachedBlock {
  BlockId block = 0;
  ContentId content = 0;
};

class PrefixIndex {
 public:
  // observer: hears of every change; null for none.
  PrefixIndex(uint32_t num_blocks, uint32_t block_size, PrefixObserver* observer);

  std::optional<CachedBlock> find(const PrefixBlock& prefix) const;
  bool has_content(BlockId block) const { return contents_[block].id != 0; }

  // `block`, which has no content, holds this from now on. Gives the content's name: an older one when
  // another block holds the same, and then `block` stays without content. Nothing when a different content
  // has the same hash, and then neither this nor what follows it can be found.
  std::optional<ContentId> add(BlockId block, const PrefixBlock& prefix);
  // `block` has no content any more; what follows it cannot be found again.
  void remove(BlockId block);
  void clear();

 private:
  struct Content {
    ContentId id = 0;  // 0: none
    uint64_t hash = 0;
    ContentId parent = 0;
    std::string salt;  // empty unless parent is 0
  };
  // Prompts decide the hashes, so no one outside may know which of them share a bucket.
  struct BucketOf {
    uint64_t secret;
    size_t operator()(uint64_t hash) const;
  };
  std::span<const TokenId> tokens_of(BlockId block) const;
  bool holds(BlockId block, const PrefixBlock& prefix) const;

  const uint32_t block_size_;
  PrefixObserver* const observer_;
  std::vector<Content> contents_;                           // [num_blocks]
  std::vector<TokenId> tokens_;                             // [num_blocks, block_size]
  std::unordered_map<uint64_t, BlockId, BucketOf> blocks_;  // by hash
  ContentId last_id_ = 0;
};

}  // namespace octet::worker
