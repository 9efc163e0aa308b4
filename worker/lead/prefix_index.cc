#include "worker/lead/prefix_index.h"

#include <algorithm>
#include <random>

#include "base/check.h"

namespace octet::worker {
namespace {

uint64_t draw_secret() {
  std::random_device random;
  return (uint64_t{random()} << 32) | random();
}

}  // namespace

size_t PrefixIndex::BucketOf::operator()(uint64_t hash) const {
  const uint64_t mixed = (hash ^ secret) * 0x9E3779B97F4A7C15;
  return mixed ^ (mixed >> 32);
}

PrefixIndex::PrefixIndex(uint32_t num_blocks, uint32_t block_size, PrefixObserver* observer)
    : block_size_(block_size),
      observer_(observer),
      contents_(num_blocks),
      tokens_(size_t{num_blocks} * block_size),
      blocks_(num_blocks, BucketOf{draw_secret()}) {}

std::span<const TokenId> PrefixIndex::tokens_of(BlockId block) const {
  return std::span(tokens_).subspan(size_t{block} * block_size_, block_size_);
}

bool PrefixIndex::holds(BlockId block, const PrefixBlock& prefix) const {
  const Content& content = contents_[block];
  return content.parent == prefix.parent && (prefix.parent != 0 || content.salt == prefix.salt) &&
         std::ranges::equal(tokens_of(block), prefix.tokens);
}

std::optional<CachedBlock> PrefixIndex::find(const PrefixBlock& prefix) const {
  const auto found = blocks_.find(prefix.hash);
  if (found == blocks_.end() || !holds(found->second, prefix)) return std::nullopt;
  return CachedBlock{found->second, contents_[found->second].id};
}

std::optional<ContentId> PrefixIndex::add(BlockId block, const PrefixBlock& prefix) {
  OCTET_CHECK(!has_content(block), "block ", block);
  OCTET_CHECK(prefix.tokens.size() == block_size_, prefix.tokens.size(), " tokens");
  const auto [entry, is_new] = blocks_.try_emplace(prefix.hash, block);
  if (!is_new) {
    if (!holds(entry->second, prefix)) return std::nullopt;
    return contents_[entry->second].id;
  }
  contents_[block] = {++last_id_, prefix.hash, prefix.parent,
                      std::string(prefix.parent == 0 ? prefix.salt : std::string_view())};
  std::ranges::copy(prefix.tokens, tokens_.begin() + static_cast<ptrdiff_t>(size_t{block} * block_size_));
  if (observer_ != nullptr) observer_->on_added(prefix.hash);
  return last_id_;
}

void PrefixIndex::remove(BlockId block) {
  OCTET_CHECK(has_content(block), "block ", block);
  const uint64_t hash = contents_[block].hash;
  blocks_.erase(hash);
  contents_[block] = {};
  if (observer_ != nullptr) observer_->on_removed(hash);
}

void PrefixIndex::clear() {
  blocks_.clear();
  std::ranges::fill(contents_, Content{});
  if (observer_ != nullptr) observer_->on_cleared();
}

}  // namespace octet::worker
