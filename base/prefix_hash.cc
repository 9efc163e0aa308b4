#include "base/prefix_hash.h"

#include "base/check.h"

namespace octet {
namespace {

constexpr uint64_t kRoot = 0x6F637465742F7631;  // "octet/v1"

// The finaliser of SplitMix64: a bijection, every input bit reaches every output bit.
uint64_t mixed(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

uint64_t chained(uint64_t hash, uint64_t value) {
  return mixed(hash + 0x9E3779B97F4A7C15 + value);
}

}  // namespace

uint64_t prefix_root(std::string_view salt) {
  uint64_t hash = chained(kRoot, salt.size());
  for (const char c : salt) hash = chained(hash, static_cast<unsigned char>(c));
  return hash;
}

uint64_t prefix_hash(uint64_t parent, std::span<const uint32_t> block) {
  uint64_t hash = chained(parent, block.size());
  for (const uint32_t token : block) hash = chained(hash, token);
  return hash;
}

std::vector<uint64_t> prefix_hashes(std::string_view salt, std::span<const uint32_t> tokens,
                                    uint32_t block_size) {
  OCTET_CHECK(block_size > 0, "tokens in a block");
  std::vector<uint64_t> hashes;
  hashes.reserve(tokens.size() / block_size);
  uint64_t hash = prefix_root(salt);
  for (; tokens.size() >= block_size; tokens = tokens.subspan(block_size)) {
    hash = prefix_hash(hash, tokens.first(block_size));
    hashes.push_back(hash);
  }
  return hashes;
}

}  // namespace octet
