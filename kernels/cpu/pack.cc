// Packs a weight into the layout of packed_layout.h.
//
//   bf16   the nearest bf16, ties to even
//   int8   scale = max |w| of a group of 32 / 127 rounded up to bf16; the nearest integer to w / scale
//   fp8    scale = max |w| of a column / 448; the nearest E4M3 to w / scale, ties to even. An fp8 weight
//   keeps its bits
//          and its scales.
//
// Shapes     weight [num_columns, depth] bf16, fp32 or fp8, rows may be strided.
// Mapping    a thread takes a contiguous part of the panels, the one that it reads in packed_linear().
// Precision  int8: half a step of 1 / 127 of the group's largest; fp8: 2^-4 of the element, or 2^-10 of 1 /
// 448 of the
//            column's largest if that is more. A column or group with a NaN gets the scale NaN.
// Cost       a read of the weight and a write of the packed one; once at load.
// Checked by tests/kernels/pack_test.cc.
#include "kernels/cpu/float8.h"
#include "kernels/cpu/op_kernels.h"
#include "kernels/cpu/packed_layout.h"
#include "kernels/cpu/packed_simd.h"

namespace octet::kernels::OCTET_ISA {
namespace {

uint32_t bits_of(float x) {
  uint32_t bits = 0;
  __builtin_memcpy(&bits, &x, sizeof bits);
  return bits;
}
float float_of(uint32_t bits) {
  float x = 0;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}

uint16_t to_bfloat16(float x) {
  const uint32_t bits = bits_of(x);
  if (x != x) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// The nearest E4M3 to x, |x| <= 448.
uint8_t to_float8(float x) {
  const uint32_t bits = bits_of(x);
  const uint32_t sign = bits >> 24 & 0x80;
  const float magnitude = float_of(bits & 0x7fffffff);
  if (magnitude < 0x1p-6f) {
    // Steps of 2^-9: adding 1.5 * 2^14 leaves the nearest step in the low bits, ties to even.
    return static_cast<uint8_t>(sign | (bits_of(magnitude + 24576.0f) - bits_of(24576.0f)));
  }
  const uint32_t m = bits & 0x7fffffff;
  const uint32_t rounded = m + 0x7ffff + ((m >> 20) & 1);
  return static_cast<uint8_t>(sign | ((rounded >> 20) - (120 << 3)));
}

// Reads rows of the weight as fp32.
class Source {
 public:
  explicit Source(const PackArgs& args) : args_(args) {}

  // Elements [first, first + count) of column n; zeros past the matrix' end, up to count.
  void read(int64_t n, int64_t first, int64_t count, float* out) const {
    const int64_t left = n < args_.num_columns ? args_.depth - first : 0;
    const int64_t valid = left < 0 ? 0 : (left < count ? left : count);
    const int64_t offset = n * args_.weight_stride + first;
    if (args_.weight_type == DType::kFloat32) {
      const float* const row = static_cast<const float*>(args_.weight) + offset;
      for (int64_t i = 0; i < valid; ++i) out[i] = row[i];
    } else if (args_.weight_type == DType::kBFloat16) {
      const uint16_t* const row = static_cast<const uint16_t*>(args_.weight) + offset;
      for (int64_t i = 0; i < valid; ++i) out[i] = float_of(static_cast<uint32_t>(row[i]) << 16);
    } else {
      const uint8_t* const row = static_cast<const uint8_t*>(args_.weight) + offset;
      const float scale = valid > 0 ? scale_of(n) : 0.0f;
      for (int64_t i = 0; i < valid; ++i) out[i] = value_of(row[i]) * scale;
    }
    for (int64_t i = valid; i < count; ++i) out[i] = 0.0f;
  }

  float scale_of(int64_t n) const { return args_.scales[args_.num_scales == 1 ? 0 : n]; }

 private:
  static float value_of(uint8_t x) {
    if ((x & 0x7f) == kFloat8NaN) return __builtin_nanf("");
    return float_of(static_cast<uint32_t>(float8_to_bfloat16(x)) << 16);
  }

  const PackArgs& args_;
};

constexpr int64_t kPieceDepth = 512;  // elements of a column read at once

char* panel_of(const PackArgs& args, int64_t panel) {
  return args.packed + panel * panel_bytes(args.format, args.depth);
}

void pack_bfloat16(const PackArgs& args, int64_t panel) {
  const Source source(args);
  uint16_t* const out = reinterpret_cast<uint16_t*>(panel_of(args, panel));
  const int64_t depth = count_parts(args.depth, 2) * 2;
  for (int64_t k = 0; k < depth; k += kPieceDepth) {
    const int64_t count = depth - k < kPieceDepth ? depth - k : kPieceDepth;
    for (int64_t c = 0; c < kPanelColumns; ++c) {
      float values[kPieceDepth];
      source.read(panel * kPanelColumns + c, k, count, values);
      for (int64_t i = 0; i < count; i += 2) {
        uint16_t* const pair = out + ((k + i) / 2 * kPanelColumns + c) * 2;
        pair[0] = to_bfloat16(values[i]);
        pair[1] = to_bfloat16(values[i + 1]);
      }
    }
  }
}

// As above for a bf16 weight: its pairs are copied.
void copy_bfloat16(const PackArgs& args, int64_t panel) {
  uint32_t* const out = reinterpret_cast<uint32_t*>(panel_of(args, panel));
  const int64_t first = panel * kPanelColumns;
  const int64_t whole_pairs = args.depth / 2;
  for (int64_t c = 0; c < kPanelColumns; ++c) {
    const bool exists = first + c < args.num_columns;
    const char* const row = static_cast<const char*>(args.weight) + (first + c) * args.weight_stride * 2;
    for (int64_t pair = 0; pair < whole_pairs; ++pair) {
      uint32_t bits = 0;
      if (exists) __builtin_memcpy(&bits, row + 4 * pair, sizeof bits);
      out[pair * kPanelColumns + c] = bits;
    }
    if (args.depth % 2 != 0) {
      uint16_t last = 0;
      if (exists) __builtin_memcpy(&last, row + 4 * whole_pairs, sizeof last);
      out[whole_pairs * kPanelColumns + c] = last;
    }
  }
}

float largest_magnitude(const float* values, int64_t count) {
  uint32_t largest = 0;  // magnitudes are ordered as their bits are, NaN above all
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t magnitude = bits_of(values[i]) & 0x7fffffff;
    largest = magnitude > largest ? magnitude : largest;
  }
  return float_of(largest);
}

// The least bf16 that is at least x >= 0.
uint16_t round_up_to_bfloat16(float x) {
  if (x != x) return to_bfloat16(x);
  return static_cast<uint16_t>((bits_of(x) + 0xffff) >> 16);
}

// One group of one column: 32 offset integers, four at a time 64 bytes apart.
void pack_group(const float* values, char* weights, char* scale) {
  const uint16_t scale_bits = round_up_to_bfloat16(largest_magnitude(values, kGroupDepth) / 127.0f);
  const float step = float_of(static_cast<uint32_t>(scale_bits) << 16);
  for (int64_t k = 0; k < kGroupDepth; ++k) {
    float steps = step > 0.0f ? __builtin_rintf(values[k] / step) : 0.0f;
    steps = steps > -127.0f ? (steps < 127.0f ? steps : 127.0f) : -127.0f;
    weights[k / 4 * kPanelColumns * 4 + k % 4] = static_cast<char>(static_cast<int>(steps) + 128);
  }
  __builtin_memcpy(scale, &scale_bits, sizeof scale_bits);
}

void pack_int8(const PackArgs& args, int64_t panel) {
  const Source source(args);
  char* block = panel_of(args, panel);
  for (int64_t k = 0; k < args.depth; k += kBlockDepth, block += kBlockBytes) {
    for (int64_t c = 0; c < kPanelColumns; ++c) {
      float values[kBlockDepth];
      source.read(panel * kPanelColumns + c, k, kBlockDepth, values);
      for (int64_t group = 0; group < kBlockGroups; ++group) {
        pack_group(values + group * kGroupDepth, block + group * kGroupDepth * kPanelColumns + c * 4,
                   block + kBlockWeightBytes + (group * kPanelColumns + c) * 2);
      }
    }
  }
}

float* float8_scales(const PackArgs& args) {
  return reinterpret_cast<float*>(panel_of(args, count_panels(args.num_columns)));
}

void pack_float8(const PackArgs& args, int64_t panel) {
  const Source source(args);
  uint8_t* const out = reinterpret_cast<uint8_t*>(panel_of(args, panel));
  float values[kPieceDepth];
  for (int64_t c = 0; c < kPanelColumns; ++c) {
    const int64_t n = panel * kPanelColumns + c;
    float largest = 0.0f;
    for (int64_t k = 0; k < args.depth; k += kPieceDepth) {
      source.read(n, k, kPieceDepth, values);
      const float piece[] = {largest, largest_magnitude(values, kPieceDepth)};
      largest = largest_magnitude(piece, 2);
    }
    const float scale = largest / 448.0f;
    float8_scales(args)[n] = scale;
    for (int64_t k = 0; k < args.depth; k += kPieceDepth) {
      const int64_t count = args.depth - k < kPieceDepth ? args.depth - k : kPieceDepth;
      source.read(n, k, count, values);
      for (int64_t i = 0; i < count; ++i) {
        float x = scale > 0.0f ? values[i] / scale : 0.0f;
        x = x > -448.0f ? (x < 448.0f ? x : 448.0f) : -448.0f;
        out[((k + i) / 2 * kPanelColumns + c) * 2 + (k + i) % 2] = to_float8(x);
      }
    }
  }
}

// As above for an fp8 weight: its bytes are copied.
void copy_float8(const PackArgs& args, int64_t panel) {
  const Source source(args);
  uint8_t* const out = reinterpret_cast<uint8_t*>(panel_of(args, panel));
  for (int64_t c = 0; c < kPanelColumns; ++c) {
    const int64_t n = panel * kPanelColumns + c;
    const bool exists = n < args.num_columns;
    const uint8_t* const row = static_cast<const uint8_t*>(args.weight) + n * args.weight_stride;
    bool has_nan = false;
    for (int64_t k = 0; exists && k < args.depth; ++k) {
      has_nan = has_nan || (row[k] & 0x7f) == kFloat8NaN;
      out[(k / 2 * kPanelColumns + c) * 2 + k % 2] = row[k];
    }
    const float scale = exists ? source.scale_of(n) : 0.0f;
    float8_scales(args)[n] = has_nan ? __builtin_nanf("") : scale;
  }
}

void pack_panel(const PackArgs& args, int64_t panel) {
  switch (args.format) {
    case WeightFormat::kBFloat16:
      return args.weight_type == DType::kBFloat16 ? copy_bfloat16(args, panel) : pack_bfloat16(args, panel);
    case WeightFormat::kInt8:
      return pack_int8(args, panel);
    case WeightFormat::kFloat8:
      return args.weight_type == DType::kFloat8E4M3 ? copy_float8(args, panel) : pack_float8(args, panel);
  }
}

}  // namespace

void pack(const PackArgs& args, int64_t first_panel, int64_t last_panel) {
  for (int64_t panel = first_panel; panel < last_panel; ++panel) pack_panel(args, panel);
}

}  // namespace octet::kernels::OCTET_ISA
