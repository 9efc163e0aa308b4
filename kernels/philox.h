// Random numbers as a pure function of a counter: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel Random
// Numbers: As Easy as 1, 2, 3", SC 2011), so that a draw depends on no other draw. The host and the device
// compute the same.
//
// How Octet numbers its draws (a contract: a change changes what every seed gives):
//   key     = {low half of the request's seed, high half}
//   counter = {position, choice index, 0, 0}, position being that of the token drawn, prompt included
//   the draw is made of output words 0 (low) and 1 (high).
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define OCTET_HOST_DEVICE __host__ __device__
#else
#define OCTET_HOST_DEVICE
#endif

namespace octet::kernels {

struct PhiloxCounter {
  uint32_t words[4];
  bool operator==(const PhiloxCounter&) const = default;
};
struct PhiloxKey {
  uint32_t words[2];
};

// Ten rounds.
OCTET_HOST_DEVICE inline PhiloxCounter philox4x32(PhiloxCounter counter, PhiloxKey key) {
  constexpr uint64_t kMultiplier0 = 0xD2511F53;
  constexpr uint64_t kMultiplier1 = 0xCD9E8D57;
  constexpr uint32_t kWeyl0 = 0x9E3779B9;  // golden ratio
  constexpr uint32_t kWeyl1 = 0xBB67AE85;  // sqrt(3) - 1
  constexpr int kNumRounds = 10;
  for (int round = 0; round < kNumRounds; ++round) {
    const uint32_t(&c)[4] = counter.words;
    const uint64_t product0 = kMultiplier0 * c[0];
    const uint64_t product1 = kMultiplier1 * c[2];
    counter = {{static_cast<uint32_t>(product1 >> 32) ^ c[1] ^ key.words[0], static_cast<uint32_t>(product1),
                static_cast<uint32_t>(product0 >> 32) ^ c[3] ^ key.words[1],
                static_cast<uint32_t>(product0)}};
    key = {{key.words[0] + kWeyl0, key.words[1] + kWeyl1}};
  }
  return counter;
}

// The draw for one token: uniform over the 2^52 numbers (i + 0.5) / 2^52, so neither 0 nor 1.
OCTET_HOST_DEVICE inline double uniform_draw(uint64_t seed, uint32_t choice_index, uint32_t position) {
  const PhiloxCounter bits = philox4x32({{position, choice_index, 0, 0}},
                                        {{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)}});
  const uint64_t integer = (static_cast<uint64_t>(bits.words[1]) << 32 | bits.words[0]) >> 12;
  return (static_cast<double>(integer) + 0.5) * 0x1p-52;
}

}  // namespace octet::kernels
