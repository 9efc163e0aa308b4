// Before main(): the emulated device that octet-gpu-check finds.
#include "tests/cuda_emulator/emulator.h"

namespace {

[[maybe_unused]] const bool kHasDevice = (cuda_emulator::reset(1), true);

}  // namespace
