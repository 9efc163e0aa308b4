#include "kernels/cpu/host_buffer.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

namespace octet::kernels {
namespace {

constexpr int64_t kMebibyte = 1 << 20;

int64_t resident_bytes(void* data, int64_t num_bytes) {
  const int64_t page = sysconf(_SC_PAGESIZE);
  std::vector<unsigned char> resident(static_cast<size_t>((num_bytes + page - 1) / page));
  EXPECT_EQ(mincore(data, static_cast<size_t>(num_bytes), resident.data()), 0);
  return page * std::count_if(resident.begin(), resident.end(), [](unsigned char r) { return (r & 1) != 0; });
}

TEST(HostBuffer, IsZeroedAndWritableToItsEndWhateverThePages) {
  for (const PageSize page_size : {PageSize::kSmall, PageSize::kHuge}) {
    for (const int64_t size : {int64_t{0}, int64_t{100}, kMebibyte, 2 * kMebibyte - 1, 2 * kMebibyte,
                               2 * kMebibyte + 1, 7 * kMebibyte + 12345}) {
      const std::unique_ptr<Buffer> buffer = allocate_host_buffer(size, page_size);
      ASSERT_NE(buffer, nullptr) << size;
      EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % 64, 0u) << size;
      const char* const data = static_cast<const char*>(buffer->data());
      EXPECT_TRUE(std::all_of(data, data + size, [](char c) { return c == 0; })) << size;
      std::memset(buffer->data(), 1, static_cast<size_t>(size));
    }
  }
}

TEST(HostBuffer, IsAlignedToHugePagesWhereItIsLargeEnough) {
  std::vector<std::unique_ptr<Buffer>> buffers;  // at whatever addresses the system finds
  for (int i = 0; i < 8; ++i) {
    buffers.push_back(allocate_host_buffer(2 * kMebibyte + i * 5000, PageSize::kHuge));
    ASSERT_NE(buffers.back(), nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffers.back()->data()) % (2 * kMebibyte), 0u);
  }
}

TEST(HostBuffer, TakesPhysicalMemoryOnlyWhereItIsTouched) {
  constexpr int64_t kSize = 64 * kMebibyte;
  for (const PageSize page_size : {PageSize::kSmall, PageSize::kHuge}) {
    const std::unique_ptr<Buffer> buffer = allocate_host_buffer(kSize, page_size);
    ASSERT_NE(buffer, nullptr);
    EXPECT_EQ(resident_bytes(buffer->data(), kSize), 0);
    static_cast<char*>(buffer->data())[kSize / 2] = 1;
    const int64_t resident = resident_bytes(buffer->data(), kSize);
    EXPECT_GT(resident, 0);
    EXPECT_LE(resident, 2 * kMebibyte);  // where the system is set to give everybody huge pages
  }
}

TEST(HostBuffer, IsNullWhenTheSystemHasNotSoMuch) {
  for (const PageSize page_size : {PageSize::kSmall, PageSize::kHuge}) {
    EXPECT_EQ(allocate_host_buffer(int64_t{1} << 60, page_size), nullptr);
    EXPECT_EQ(allocate_host_buffer(INT64_MAX, page_size), nullptr);
  }
}

}  // namespace
}  // namespace octet::kernels
