// The instructions of sm_80 and later that CUDA C++ has no functions for, under names of ours. The emulator
// has a file of the same name (tests/cuda_emulator/include), so kernels do not know which one they have.
// Source: PTX ISA 8.0, sections 9.7.8.24 (cp.async) and 9.7.13.4 (mma, ldmatrix).
//
// Fragments of a warp, with g = lane / 4 and t = lane % 4; each register of a bf16 fragment holds two
// elements, the first in its low half:
//   a     16 x 16  (g, 2t..), (g + 8, 2t..), (g, 2t + 8..), (g + 8, 2t + 8..)
//   b     16 x 8   rows 2t.. of column g, rows 2t + 8.. of column g
//   d     16 x 8   (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1) fp32
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace octet::ptx {

// Where something lies in shared memory. Additions to it cost nothing, as an instruction's offset.
__device__ inline uint32_t shared_address(const void* memory) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(memory));
}

// d += a b. Products are exact, sums in fp32.
__device__ inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Four matrices of 8 x 8 elements of 16 bits: lane 8 m + i gives the address of row i of matrix m in shared
// memory, 16 bytes, aligned; register m gets elements (g, 2t) and (g, 2t + 1) of it.
__device__ inline void load_matrices(uint32_t (&registers)[4], uint32_t row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
               : "r"(row)
               : "memory");
}
// The same, each matrix transposed: elements (2t, g) and (2t + 1, g).
__device__ inline void load_matrices_transposed(uint32_t (&registers)[4], uint32_t row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
               : "r"(row)
               : "memory");
}

// Starts copying 16 bytes to shared memory, past L1; zeros where `valid` is false, and then nothing is read.
__device__ inline void start_copy(uint32_t shared, const void* global, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :
               : "r"(shared), "l"(global), "r"(valid ? 16 : 0)
               : "memory");
}
// The thread's copies since the last one are a group.
__device__ inline void commit_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
// Waits for all of the thread's groups but the newest kPending. Other threads see the copies after a barrier.
template <int kPending>
__device__ inline void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// Two bf16, rounded to nearest, ties to even; `low` in the low half.
__device__ inline uint32_t pack_bf16(float low, float high) {
  uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

}  // namespace octet::ptx
