// The program: checks, times, prints and writes what --json names.
#pragma once

namespace octet::gpu_check {

// Its exit code: 1 when a check failed, or the device is of no use; 2 for flags it does not know.
int run(int argc, char** argv);

}  // namespace octet::gpu_check
