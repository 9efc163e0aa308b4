// What words were encoded to before: texts repeat their words, and merging one costs many times a lookup.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <string_view>
#include <vector>

namespace octet::router {

// Of fixed size: a word takes the place of one that falls into the same slot. For any thread.
class WordCache {
 public:
  // Appends the word's ids when they are known.
  bool find(std::string_view word, std::vector<uint32_t>& ids) const;
  // Words of more than 27 bytes or 8 ids are not kept.
  void keep(std::string_view word, std::span<const uint32_t> ids);

 private:
  static constexpr size_t kNumSlots = 8192;  // of 64 bytes
  static constexpr size_t kNumLocks = 64;

  struct Slot {
    std::array<uint32_t, 8> ids;
    uint8_t num_ids = 0;
    uint8_t num_bytes = 0;  // 0: empty
    std::array<char, 27> word;
  };

  static size_t slot_of(std::string_view word);

  std::vector<Slot> slots_ = std::vector<Slot>(kNumSlots);
  mutable std::array<std::mutex, kNumLocks> locks_;  // of the slots with this remainder
};

}  // namespace octet::router
