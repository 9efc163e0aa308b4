// How long the device takes for a copy, a large product, the ops of a rank and its steps.
#pragma once

#include "kernels/backend.h"
#include "tools/gpu_check/rank_shape.h"
#include "tools/gpu_check/report.h"

namespace octet::gpu_check {

// Fills peaks, measurements and left_out. rank: on device `device`, the only one of its stage.
void time_rank(kernels::Backend& rank, int device, const RankShape& shape, Report& report);

}  // namespace octet::gpu_check
