// Zeroed host memory for Backend::allocate.
#pragma once

#include <cstdint>
#include <memory>

#include "kernels/backend.h"

namespace octet::kernels {

// num_bytes of zeros, 64-byte aligned; pages take physical memory when they are first touched. nullptr when
// the system refuses.
std::unique_ptr<Buffer> allocate_host_buffer(int64_t num_bytes);

}  // namespace octet::kernels
