// What the emulator's other parts put on a stream.
#pragma once

#include <functional>
#include <string>

#include "tests/cuda_emulator/include/cuda_runtime.h"

namespace cuda_emulator {

// Says whether it is done; if not it is called again.
using Work = std::function<bool()>;

// Runs when the host waits for the stream, after what was put there before.
void add_work(cudaStream_t stream, Work work);
void add_work(cudaStream_t stream, std::function<void()> work);

int device_of(cudaStream_t stream);

// As after a kernel that failed.
void record_fault(int device, const std::string& what);

}  // namespace cuda_emulator
