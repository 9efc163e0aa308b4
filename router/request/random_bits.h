// Random bits of the operating system, for seeds and request ids that nobody can guess.
#pragma once

#include <cstdint>

namespace octet::router {

uint64_t random_bits();

}  // namespace octet::router
