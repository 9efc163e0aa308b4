// kernels/cuda/ptx/octet_ptx.cuh for emulated devices; that file says what each function does.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace octet::ptx {

using cuda_emulator::Where;

uint32_t shared_address(const void* memory);

void mma_bf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, Where where = Where::here());
void load_matrices(uint32_t (&registers)[4], uint32_t row, Where where = Where::here());
void load_matrices_transposed(uint32_t (&registers)[4], uint32_t row, Where where = Where::here());

void start_copy(uint32_t shared, const void* global, bool valid);
void commit_copies();
void wait_copies_but(int pending);
template <int kPending>
void wait_copies() {
  wait_copies_but(kPending);
}

inline uint32_t pack_bf16(float low, float high) {
  return __float2bfloat16(low).bits | static_cast<uint32_t>(__float2bfloat16(high).bits) << 16;
}

}  // namespace octet::ptx
