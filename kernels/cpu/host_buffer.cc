#include "kernels/cpu/host_buffer.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

namespace octet::kernels {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kMinMappedBytes = 1 << 20;  // below, whole pages would be wasteful

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

}  // namespace

std::unique_ptr<Buffer> allocate_host_buffer(int64_t num_bytes) {
  OCTET_CHECK(num_bytes >= 0, num_bytes);
  const size_t size = static_cast<size_t>(num_bytes);
  if (size >= kMinMappedBytes) {
    void* const data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) return nullptr;
    return std::make_unique<MappedBuffer>(data, size);
  }
  const size_t padded = (size / kAlignment + 1) * kAlignment;
  void* const data = std::aligned_alloc(kAlignment, padded);
  if (data == nullptr) return nullptr;
  std::memset(data, 0, padded);
  return std::make_unique<HeapBuffer>(data);
}

}  // namespace octet::kernels
