// The operations of packed_linear() on sixteen columns, with the same bits on every instruction set.
//
// A pair is two neighbouring depths of a row or of a column in bf16, a quad is four of them in 8 bits.
//   add_products(sum, weights, pair)   sum = fma(even, even, fma(odd, odd, sum)), denormals read and
//                                      written as zero: what vdpbf16ps does (Intel SDM; AMD's agrees)
//   round_to_pairs(x, pairs)           the nearest bf16, ties to even, denormals as zero
//   round_to_bfloat16(x, out)          the same, sixteen of them side by side
//   add_products(sum, weights, quad)   the four products added in int32, exactly
//   largest_magnitude(low, high)       of 32 elements; a NaN is larger than every number
//   round_to_quads(low, high, quads)   the nearest integers of 32 elements in [-127, 127], a NaN as -127;
//                                      returns their sum
#pragma once

#include "kernels/cpu/simd.h"

namespace octet::kernels::OCTET_ISA {
namespace {

inline F32x16 load_scales(const char* bf16) {
  return load(reinterpret_cast<const BFloat16*>(bf16));
}

}  // namespace
}  // namespace octet::kernels::OCTET_ISA

#if defined(__AVX512BF16__)
#include "kernels/cpu/packed_simd_avx512_bf16.h"
#elif defined(__AVX512BW__)
#include "kernels/cpu/packed_simd_avx512.h"
#else
#include "kernels/cpu/packed_simd_avx2.h"
#endif
