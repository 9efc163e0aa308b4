// Random numbers as a pure function of a counter: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel Random
// Numbers: As Easy as 1, 2, 3", SC 2011), so that a draw depends on no other draw.
//
// How Octet numbers its draws (a contract: a change changes what every seed gives):
//   key     = {low half of the request's seed, high half}
//   counter = {position, choice index, 0, 0}, position being that of the token drawn, prompt included
//   the draw is made of output words 0 (low) and 1 (high).
#pragma once

#include <array>
#include <cstdint>

namespace octet::worker {

using PhiloxCounter = std::array<uint32_t, 4>;
using PhiloxKey = std::array<uint32_t, 2>;

// Ten rounds.
PhiloxCounter philox4x32(PhiloxCounter counter, PhiloxKey key);

// The draw for one token: uniform over the 2^52 numbers (i + 0.5) / 2^52, so neither 0 nor 1.
double uniform_draw(uint64_t seed, uint32_t choice_index, uint32_t position);

}  // namespace octet::worker
