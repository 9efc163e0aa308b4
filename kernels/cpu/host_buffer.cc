#include "kernels/cpu/host_buffer.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace octet::kernels {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kMinMappedBytes = 1 << 20;  // below, whole pages would be wasteful
constexpr size_t kHugePageBytes = 2 << 20;

class HeapBuffer final : public Buffer {
 public:
  explicit HeapBuffer(void* data) : data_(data) {}
  ~HeapBuffer() override { std::free(data_); }
  HeapBuffer(const HeapBuffer&) = delete;
  HeapBuffer& operator=(const HeapBuffer&) = delete;
  void* data() override { return data_; }

 private:
  void* const data_;
};

class MappedBuffer final : public Buffer {
 public:
  MappedBuffer(void* data, size_t num_bytes) : data_(data), num_bytes_(num_bytes) {}
  ~MappedBuffer() override { munmap(data_, num_bytes_); }
  MappedBuffer(const MappedBuffer&) = delete;
  MappedBuffer& operator=(const MappedBuffer&) = delete;
  void* data() override { return data_; }

 private:
  void* const data_;
  const size_t num_bytes_;
};

// Zeroed pages at a multiple of alignment (a power of two, of pages); nullptr when the system refuses.
void* map_aligned(size_t size, size_t alignment) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t padding = alignment > page ? alignment - page : 0;
  if (size > SIZE_MAX - padding - page) return nullptr;
  const size_t mapped = (size + page - 1) / page * page;
  void* const data =
      mmap(nullptr, mapped + padding, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) return nullptr;
  char* const first = static_cast<char*>(data);
  const size_t before = (alignment - reinterpret_cast<uintptr_t>(first) % alignment) % alignment;
  if (before > 0) munmap(first, before);
  if (before < padding) munmap(first + before + mapped, padding - before);
  return first + before;
}

}  // namespace

std::unique_ptr<Buffer> allocate_host_buffer(int64_t num_bytes, PageSize page_size) {
  OCTET_CHECK(num_bytes >= 0, num_bytes);
  const size_t size = static_cast<size_t>(num_bytes);
  if (size >= kMinMappedBytes) {
    const bool huge = page_size == PageSize::kHuge && size >= kHugePageBytes;
    void* const data = map_aligned(size, huge ? kHugePageBytes : kAlignment);
    if (data == nullptr) return nullptr;
    if (huge) madvise(data, size, MADV_HUGEPAGE);  // a system without them goes on with small ones
    return std::make_unique<MappedBuffer>(data, size);
  }
  const size_t padded = (size / kAlignment + 1) * kAlignment;
  void* const data = std::aligned_alloc(kAlignment, padded);
  if (data == nullptr) return nullptr;
  std::memset(data, 0, padded);
  return std::make_unique<HeapBuffer>(data);
}

}  // namespace octet::kernels
