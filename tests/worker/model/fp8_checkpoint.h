// Writes the nano model as an fp8 checkpoint in the layout of AutoFP8: X_proj.weight in F8_E4M3 with
// X_proj.weight_scale in F32 and an X_proj.input_scale; the rest in bf16.
#pragma once

#include <cstdint>

#include "tests/worker/checkpoint/checkpoint_writer.h"

namespace octet::worker {

enum class ScaleShape {
  kScalar,  // [], one for the tensor
  kOne,     // [1]
  kRows,    // [rows], one a row
};

// config.json and model.safetensors.
void write_fp8_checkpoint(const TemporaryFolder& folder, ScaleShape scale_shape);

// The value of an E4M3 byte, by its definition; NaN for the two that are.
float value_of_fp8(uint8_t bits);

}  // namespace octet::worker
