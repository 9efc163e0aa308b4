#include "worker/sampling/philox.h"

namespace octet::worker {
namespace {

constexpr uint64_t kMultiplier0 = 0xD2511F53;
constexpr uint64_t kMultiplier1 = 0xCD9E8D57;
constexpr uint32_t kWeyl0 = 0x9E3779B9;  // golden ratio
constexpr uint32_t kWeyl1 = 0xBB67AE85;  // sqrt(3) - 1
constexpr int kNumRounds = 10;

uint32_t low(uint64_t x) {
  return static_cast<uint32_t>(x);
}
uint32_t high(uint64_t x) {
  return static_cast<uint32_t>(x >> 32);
}

}  // namespace

PhiloxCounter philox4x32(PhiloxCounter counter, PhiloxKey key) {
  for (int round = 0; round < kNumRounds; ++round) {
    const uint64_t product0 = kMultiplier0 * counter[0];
    const uint64_t product1 = kMultiplier1 * counter[2];
    counter = {high(product1) ^ counter[1] ^ key[0], low(product1), high(product0) ^ counter[3] ^ key[1],
               low(product0)};
    key = {key[0] + kWeyl0, key[1] + kWeyl1};
  }
  return counter;
}

double uniform_draw(uint64_t seed, uint32_t choice_index, uint32_t position) {
  const PhiloxCounter bits = philox4x32({position, choice_index, 0, 0}, {low(seed), high(seed)});
  const uint64_t integer = (static_cast<uint64_t>(bits[1]) << 32 | bits[0]) >> 12;
  return (static_cast<double>(integer) + 0.5) * 0x1p-52;
}

}  // namespace octet::worker
