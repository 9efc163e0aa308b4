#include "tools/bench/machine/compute_loops.h"

#include <immintrin.h>

namespace octet::bench {
namespace {

// Enough to hide a latency of 6 cycles at two instructions a cycle, and few enough for 16 registers.
constexpr int kChains = 12;

// Makes the compiler believe that the register is read and written, so that no loop is folded.
#define OCTET_KEEP(value) asm volatile("" : "+v"(value))

__attribute__((target("avx2,fma"))) void fma_avx2(int64_t iterations) {
  __m256 sums[kChains] = {};
  const __m256 a = _mm256_set1_ps(1.0f);
  const __m256 b = _mm256_set1_ps(1e-3f);
  for (int64_t i = 0; i < iterations; ++i) {
#pragma GCC unroll 12
    for (__m256& sum : sums) {
      sum = _mm256_fmadd_ps(a, b, sum);
      OCTET_KEEP(sum);
    }
  }
}

__attribute__((target("avx512f"))) void fma_avx512(int64_t iterations) {
  __m512 sums[kChains] = {};
  const __m512 a = _mm512_set1_ps(1.0f);
  const __m512 b = _mm512_set1_ps(1e-3f);
  for (int64_t i = 0; i < iterations; ++i) {
#pragma GCC unroll 12
    for (__m512& sum : sums) {
      sum = _mm512_fmadd_ps(a, b, sum);
      OCTET_KEEP(sum);
    }
  }
}

__attribute__((target("avx512f,avx512bf16"))) void bf16_avx512(int64_t iterations) {
  __m512 sums[kChains] = {};
  const __m512bh a = (__m512bh)_mm512_set1_epi32(0x3f803f80);  // ones
  const __m512bh b = (__m512bh)_mm512_set1_epi32(0x3a803a80);  // 2^-10
  for (int64_t i = 0; i < iterations; ++i) {
#pragma GCC unroll 12
    for (__m512& sum : sums) {
      sum = _mm512_dpbf16_ps(sum, a, b);
      OCTET_KEEP(sum);
    }
  }
}

__attribute__((target("avx512f,avx512vnni"))) void int8_avx512(int64_t iterations) {
  __m512i sums[kChains] = {};
  const __m512i a = _mm512_set1_epi8(3);
  const __m512i b = _mm512_set1_epi8(-5);
  for (int64_t i = 0; i < iterations; ++i) {
#pragma GCC unroll 12
    for (__m512i& sum : sums) {
      sum = _mm512_dpbusd_epi32(sum, a, b);
      OCTET_KEEP(sum);
    }
  }
}

#undef OCTET_KEEP

// Lanes of a vector, products of a lane, a multiplication and an addition each.
constexpr double operations(int lanes, int products) {
  return kChains * 2.0 * lanes * products;
}

}  // namespace

std::vector<ComputeLoop> compute_loops() {
  std::vector<ComputeLoop> loops;
  if (__builtin_cpu_supports("avx512f")) {
    loops.push_back({"fma", fma_avx512, operations(16, 1)});
  } else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    loops.push_back({"fma", fma_avx2, operations(8, 1)});
  }
  if (__builtin_cpu_supports("avx512bf16")) loops.push_back({"bf16", bf16_avx512, operations(16, 2)});
  if (__builtin_cpu_supports("avx512vnni")) loops.push_back({"int8", int8_avx512, operations(16, 4)});
  return loops;
}

}  // namespace octet::bench
