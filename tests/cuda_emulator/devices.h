// What the calls of cuda_runtime.h share: the device that they are about, and what they answer.
#pragma once

#include "tests/cuda_emulator/include/cuda_runtime.h"

namespace cuda_emulator {

// Of this thread.
int current_device();

// At the start of every call: the planned failure, or that of a device on which a kernel failed.
cudaError_t enter_call(int device = current_device());
// At its end: what cudaGetLastError() will tell.
cudaError_t give(cudaError_t error);

// A kernel failed on it.
bool is_broken(int device);
bool is_hanging(int device);

// All of them new, with what set_...() and fail_call() said forgotten.
void reset_devices(int num_devices);

}  // namespace cuda_emulator
