#include "router/tokenizer/word_cache.h"

#include <algorithm>

#include "absl/hash/hash.h"

namespace octet::router {

size_t WordCache::slot_of(std::string_view word) {
  return absl::HashOf(word) % kNumSlots;
}

bool WordCache::find(std::string_view word, std::vector<uint32_t>& ids) const {
  const size_t index = slot_of(word);
  const std::lock_guard lock(locks_[index % kNumLocks]);
  const Slot& slot = slots_[index];
  if (word.empty() || word != std::string_view(slot.word.data(), slot.num_bytes)) return false;
  ids.insert(ids.end(), slot.ids.begin(), slot.ids.begin() + slot.num_ids);
  return true;
}

void WordCache::keep(std::string_view word, std::span<const uint32_t> ids) {
  Slot slot;
  if (word.size() > slot.word.size() || ids.size() > slot.ids.size()) return;
  std::copy(word.begin(), word.end(), slot.word.begin());
  std::copy(ids.begin(), ids.end(), slot.ids.begin());
  slot.num_bytes = static_cast<uint8_t>(word.size());
  slot.num_ids = static_cast<uint8_t>(ids.size());
  const size_t index = slot_of(word);
  const std::lock_guard lock(locks_[index % kNumLocks]);
  slots_[index] = slot;
}

}  // namespace octet::router
