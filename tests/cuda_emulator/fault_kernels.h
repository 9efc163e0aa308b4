// Small kernels, right ones and ones with a planted fault each. Each runs in one block of `threads`.
#pragma once

#include "tests/cuda_emulator/include/cuda_runtime.h"

namespace cuda_emulator {

// output[i] = the sum of input over the block, by shuffles and shared memory. threads: a multiple of 32.
cudaError_t launch_block_sum(cudaStream_t stream, unsigned int threads, const float* input, float* output);

// output[block] += 1 from every thread, atomically.
cudaError_t launch_count(cudaStream_t stream, dim3 grid, unsigned int threads, int* output);

// output[i] = the sum of 2^33 + t over all threads t, added in shared memory, and i ^ 1.
cudaError_t launch_shared_count(cudaStream_t stream, unsigned int threads, unsigned long long* output);

// output = a b of bf16: a [16, 16], b [16, 8] row-major, through shared memory by asynchronous copies, one
// warp; output [16, 8].
cudaError_t launch_product(cudaStream_t stream, const void* a, const void* b, float* output);

// data[0] = 1, with so many bytes of dynamic shared memory; and how many the kernel may ask for.
cudaError_t launch_with_shared(cudaStream_t stream, size_t num_bytes, float* data);
cudaError_t allow_shared(int num_bytes);

enum class Fault {
  kNone,
  kWritesPastTheEnd,  // of an allocation of one float a thread
  kReadsBeforeTheStart,
  kReadsFreedOrHostMemory,
  kReadsSharedUnwritten,
  kReadsSharedPastTheEnd,
  kRacesOverShared,    // a barrier is missing between a write and another thread's read
  kRacesByWriting,     // two threads write one place
  kRacesWithAtomics,   // a plain read of what another thread adds to atomically
  kDivergentBarrier,   // some threads never reach it
  kTwoBarriers,        // threads wait at different ones
  kIncompleteShuffle,  // a lane of the mask never comes
  kMisalignedVector,
  kReadsACopyTooEarly,   // of a group that it has not waited for
  kWritesUnderACopy,     // another thread's, under way
  kReadsACopyOfAnother,  // waited for, with no barrier after
  kEndsBeforeItsCopies,
  kMatricesOfHalfAWarp,  // that its other half never loads
};
cudaError_t launch_fault(cudaStream_t stream, unsigned int threads, Fault fault, float* data);

}  // namespace cuda_emulator
