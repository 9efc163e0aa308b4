// The table of angles behind Backend::rotary_and_kv_write.
#pragma once

#include <cstdint>

#include "kernels/backend.h"

namespace octet::kernels {

// Cosine and sine of position * theta^(-2i / rotary_dim), i < rotary_dim / 2. Frequencies and angles are
// rounded to fp32 where transformers rounds them, so that the angles agree. rotary_dim is even and positive.
// A table without storage means that there was not enough memory.
RotaryTable make_rotary_table(Backend& backend, int64_t max_positions, int64_t rotary_dim, float theta);

}  // namespace octet::kernels
