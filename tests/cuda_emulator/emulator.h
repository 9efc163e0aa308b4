// What tests say to the emulator: how many devices there are, which call is to fail, and what went wrong.
#pragma once

#include <cstdint>
#include <string>

#include "tests/cuda_emulator/include/cuda_runtime.h"
#include "tests/cuda_emulator/include/nccl.h"
#include "tests/cuda_emulator/traffic.h"

namespace cuda_emulator {

// As if the process had just started, with so many devices of so many bytes; no allocation, no fault, no
// planned failure. Not while kernels run.
void reset(int num_devices = 2, size_t bytes_per_device = size_t{256} << 20);

// What cudaDriverGetVersion() says until reset(); 0: there is no driver.
void set_driver_version(int version);

// Of every device until reset(); 90 for sm_90.
void set_compute_capability(int capability);

// Of every device until reset().
void set_multiprocessors(int count);

// The call-th call from now on of a function that returns a cudaError_t gives this error and does nothing.
void fail_call(int call, cudaError_t error);

// From now on the device finishes nothing, until it is told to or reset(); who waits for it waits on.
void set_hanging(int device, bool is_hanging);

// What communicators say of themselves until reset(), in place of how they are, unless it is ncclSuccess.
void set_nccl_state(ncclResult_t state);

// The first thing that a kernel did wrong since reset(), which names the kernel's thread and the memory;
// empty if all went well. Since then every call of its device gives cudaErrorLaunchFailure.
std::string first_fault();

// Counts what the kernels that start from now on read and write of their device's memory, since the last
// call. One host thread at a time.
void start_counting();
TrafficBytes counted_bytes();  // and ends the counting

// cudaGraphLaunch() calls since reset().
int num_graph_launches();

// Bytes that copies have brought from devices to the host since reset().
size_t downloaded_bytes();

// Bytes that are allocated and not freed.
size_t allocated_bytes();

}  // namespace cuda_emulator
