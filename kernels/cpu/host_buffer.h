// Zeroed host memory, for Backend::allocate and for packed weights.
#pragma once

#include <cstdint>
#include <memory>

#include "kernels/backend.h"

namespace octet::kernels {

// What backs a buffer. Huge pages (2 MB) spare a matrix that is read from end to end most of its TLB misses,
// but the first touch of a byte takes a whole one: not for memory of which only parts are ever touched.
enum class PageSize { kSmall, kHuge };

// num_bytes of zeros, 64-byte aligned; pages take physical memory when they are first touched, on the NUMA
// node of the thread that does. kHuge: from 2 MB on aligned to 2 MB and in huge pages as far as the system
// grants them (its last part of a page is in small ones). nullptr when the system refuses.
std::unique_ptr<Buffer> allocate_host_buffer(int64_t num_bytes, PageSize page_size = PageSize::kSmall);

}  // namespace octet::kernels
