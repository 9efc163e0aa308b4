#include "worker/checkpoint/page_advice.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

#ifndef MADV_POPULATE_READ  // Linux 5.14
#define MADV_POPULATE_READ 22
#endif

namespace octet::worker {
namespace {

uintptr_t page_size() {
  static const auto size = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  return size;
}

// All pages that the bytes touch. Returns whether the advice was taken.
bool advise_touched(std::span<const std::byte> mapped, int advice) {
  if (mapped.empty()) return true;
  const auto first = reinterpret_cast<uintptr_t>(mapped.data());
  const uintptr_t start = first / page_size() * page_size();
  return madvise(reinterpret_cast<void*>(start), first + mapped.size() - start, advice) == 0;
}

}  // namespace

void read_ahead(std::span<const std::byte> mapped) {
  advise_touched(mapped, MADV_WILLNEED);
}

void populate(std::span<const std::byte> mapped) {
  if (advise_touched(mapped, MADV_POPULATE_READ)) return;
  advise_touched(mapped, MADV_WILLNEED);
}

void drop_pages(std::span<const std::byte> mapped) {
  const auto first = reinterpret_cast<uintptr_t>(mapped.data());
  const uintptr_t start = (first + page_size() - 1) / page_size() * page_size();
  const uintptr_t end = (first + mapped.size()) / page_size() * page_size();
  if (start < end) madvise(reinterpret_cast<void*>(start), end - start, MADV_DONTNEED);
}

}  // namespace octet::worker
