#include "tools/bench/machine/read_patterns.h"

#include <immintrin.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>

#include "tools/bench/machine/parallel.h"

namespace octet::bench {
namespace {

constexpr int kPasses = 12;
constexpr size_t kLine = 64;
constexpr size_t kStep = 4 * kLine;  // of a stream, before the next one's turn
constexpr size_t kMaxStreams = 8;

// Reads num_bytes, a multiple of num_streams * kStep.
using Reader = uint64_t (*)(const char* data, size_t num_bytes, size_t num_streams, size_t prefetch_bytes);

__attribute__((target("avx2"))) uint64_t read_avx2(const char* data, size_t num_bytes, size_t num_streams,
                                                   size_t prefetch_bytes) {
  __m256i sums[4] = {};
  const size_t stream_bytes = num_bytes / num_streams;
  for (size_t offset = 0; offset < stream_bytes; offset += kStep) {
    for (size_t s = 0; s < num_streams; ++s) {
      const char* from = data + s * stream_bytes + offset;
#pragma GCC unroll 4
      for (size_t line = 0; line < 4; ++line) {
        if (prefetch_bytes > 0) _mm_prefetch(from + prefetch_bytes + line * kLine, _MM_HINT_T0);
        const auto* half = reinterpret_cast<const __m256i*>(from + line * kLine);
        sums[line] = _mm256_add_epi64(sums[line], _mm256_load_si256(half));
        sums[line] = _mm256_add_epi64(sums[line], _mm256_load_si256(half + 1));
      }
    }
  }
  const __m256i sum =
      _mm256_add_epi64(_mm256_add_epi64(sums[0], sums[1]), _mm256_add_epi64(sums[2], sums[3]));
  return static_cast<uint64_t>(_mm256_extract_epi64(sum, 0));
}

__attribute__((target("avx512f"))) uint64_t read_avx512(const char* data, size_t num_bytes,
                                                        size_t num_streams, size_t prefetch_bytes) {
  __m512i sums[4] = {};
  const size_t stream_bytes = num_bytes / num_streams;
  for (size_t offset = 0; offset < stream_bytes; offset += kStep) {
    for (size_t s = 0; s < num_streams; ++s) {
      const char* from = data + s * stream_bytes + offset;
#pragma GCC unroll 4
      for (size_t line = 0; line < 4; ++line) {
        if (prefetch_bytes > 0) _mm_prefetch(from + prefetch_bytes + line * kLine, _MM_HINT_T0);
        sums[line] = _mm512_add_epi64(sums[line], _mm512_load_si512(from + line * kLine));
      }
    }
  }
  const __m512i sum =
      _mm512_add_epi64(_mm512_add_epi64(sums[0], sums[1]), _mm512_add_epi64(sums[2], sums[3]));
  return static_cast<uint64_t>(_mm512_reduce_add_epi64(sum));
}

// Fresh pages of the wished size, every one touched by the thread that will read it.
class Pages {
 public:
  Pages(size_t num_bytes, bool huge) : num_bytes_(num_bytes) {
    void* const memory = mmap(nullptr, num_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return;
    data_ = static_cast<char*>(memory);
    madvise(data_, num_bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  }
  ~Pages() {
    if (data_ != nullptr) munmap(data_, num_bytes_);
  }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  char* data() { return data_; }

 private:
  size_t num_bytes_;
  char* data_ = nullptr;
};

}  // namespace

std::vector<ReadPattern> read_patterns() {
  std::vector<ReadPattern> patterns;
  for (const bool huge : {true, false}) {
    const std::string pages = huge ? "huge pages" : "small pages";
    patterns.push_back({"one stream, " + pages, huge, 1, 0});
    patterns.push_back({"one stream prefetched, " + pages, huge, 1, 4096});
    patterns.push_back({"four streams, " + pages, huge, 4, 0});
    patterns.push_back({"four streams prefetched, " + pages, huge, 4, 1024});
  }
  patterns.push_back({"eight streams, huge pages", true, kMaxStreams, 0});
  return patterns;
}

double read_bytes_per_second(const ReadPattern& pattern, int num_threads, size_t num_bytes) {
  const auto threads = static_cast<size_t>(num_threads);
  const size_t part = num_bytes / threads / (kMaxStreams * kStep) * (kMaxStreams * kStep);
  Pages pages(part * threads, pattern.huge_pages);
  if (part == 0 || pages.data() == nullptr) return 0;
  seconds_of_parallel(num_threads,
                      [&](int t) { std::memset(pages.data() + static_cast<size_t>(t) * part, t + 1, part); });
  const Reader read = __builtin_cpu_supports("avx512f") ? read_avx512 : read_avx2;
  double best = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    const double seconds = seconds_of_parallel(num_threads, [&](int t) {
      volatile uint64_t sink = read(pages.data() + static_cast<size_t>(t) * part, part, pattern.num_streams,
                                    pattern.prefetch_bytes);
      (void)sink;
    });
    best = std::max(best, static_cast<double>(part * threads) / seconds);
  }
  return best;
}

}  // namespace octet::bench
