// Packs a weight into the layout of packed_layout.h.
//
//   bf16   the nearest bf16, ties to even
//   int8   scale = max |w| of a group of 32 / 127 rounded up to bf16; the nearest integer to w / scale
//   fp8    scale = max |w| of a column / 448; the nearest E4M3 to w / scale, ties to even. An fp8 weight
//          keeps its bits and its scales.
//
// Shapes     weight [num_columns, depth] bf16, fp32 or fp8, rows may be strided.
// Mapping    a thread takes a contiguous part of the panels, the one that it reads in packed_linear().
// Precision  int8: half a step of 1 / 127 of the group's largest; fp8: 2^-4 of the element, or 2^-10 of
//            1 / 448 of the column's largest if that is more. A column or group with a NaN gets the scale
//            NaN.
// Cost       a read of the weight and a write of the packed one; once at load.
// Checked by tests/kernels/packed_linear_test.cc.
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
  const uint32_t magnitude = bits & 0x7fffffff;
  // Below 2^-6 in steps of 2^-9: adding 1.5 * 2^14 leaves the nearest step in the low bits, ties to even.
  const uint32_t subnormal = bits_of(float_of(magnitude) + 24576.0f) - bits_of(24576.0f);
  const uint32_t normal = ((magnitude + 0x7ffff + ((magnitude >> 20) & 1)) >> 20) - (120 << 3);
  return static_cast<uint8_t>(sign | (magnitude < bits_of(0x1p-6f) ? subnormal : normal));
}

int64_t minimum(int64_t a, int64_t b) {
  return a < b ? a : b;
}

// Reads rows of the weight as fp32.
class Source {
 public:
  explicit Source(const PackArgs& args) : args_(args) {}

  // Elements [first, first + count) of column n; zeros past the matrix' end, up to count.
  void read(int64_t n, int64_t first, int64_t count, float* out) const {
    const int64_t left = n < args_.num_columns ? args_.depth - first : 0;
    const int64_t valid = left < 0 ? 0 : minimum(left, count);
    const int64_t offset = n * args_.weight_stride + first;
    if (args_.weight_type == DType::kFloat32) {
      // A mapped checkpoint may hold them aligned to two bytes only.
      const char* const row = static_cast<const char*>(args_.weight) + offset * 4;
      __builtin_memcpy(out, row, static_cast<size_t>(valid) * sizeof(float));
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

// Elements of a column taken at once: the columns of a panel in turn fill 1 KB.
constexpr int64_t kPieceDepth = 32;

char* panel_of(const PackArgs& args, int64_t panel) {
  return args.packed + panel * panel_bytes(args.format, args.depth);
}

// values: [kPieceDepth]; writes the pairs of one column that exist.
void write_pairs(const float* values, int64_t count, uint16_t* out) {
  for (int64_t i = 0; i < count; ++i) {
    out[i / 2 * kPanelColumns * 2 + i % 2] = to_bfloat16(values[i]);
  }
}

void pack_bfloat16(const PackArgs& args, int64_t panel) {
  const Source source(args);
  uint16_t* const out = reinterpret_cast<uint16_t*>(panel_of(args, panel));
  const int64_t depth = count_parts(args.depth, 2) * 2;
  for (int64_t k = 0; k < depth; k += kPieceDepth) {
    for (int64_t c = 0; c < kPanelColumns; ++c) {
      float values[kPieceDepth];
      source.read(panel * kPanelColumns + c, k, kPieceDepth, values);
      write_pairs(values, minimum(kPieceDepth, depth - k), out + (k / 2 * kPanelColumns + c) * 2);
    }
  }
}

// As above for a bf16 weight: its pairs are copied.
void copy_bfloat16(const PackArgs& args, int64_t panel) {
  const int64_t whole = args.depth / kPieceDepth * kPieceDepth;
  uint32_t* const out = reinterpret_cast<uint32_t*>(panel_of(args, panel));
  for (int64_t k = 0; k < whole; k += kPieceDepth) {
    for (int64_t c = 0; c < kPanelColumns; ++c) {
      const int64_t n = panel * kPanelColumns + c;
      uint32_t pairs[kPieceDepth / 2] = {};
      if (n < args.num_columns) {
        const char* const row = static_cast<const char*>(args.weight) + (n * args.weight_stride + k) * 2;
        __builtin_memcpy(pairs, row, sizeof pairs);
      }
      uint32_t* const place = out + k / 2 * kPanelColumns + c;
      for (int64_t i = 0; i < kPieceDepth / 2; ++i) place[i * kPanelColumns] = pairs[i];
    }
  }
  const Source source(args);
  for (int64_t c = 0; whole < args.depth && c < kPanelColumns; ++c) {
    float values[kPieceDepth];
    source.read(panel * kPanelColumns + c, whole, kPieceDepth, values);
    write_pairs(values, count_parts(args.depth - whole, 2) * 2,
                reinterpret_cast<uint16_t*>(out + whole / 2 * kPanelColumns + c));
  }
}

// The least bf16 that is at least x >= 0.
uint16_t round_up_to_bfloat16(float x) {
  if (x != x) return to_bfloat16(x);
  return static_cast<uint16_t>((bits_of(x) + 0xffff) >> 16);
}

F32x16 clamped(F32x16 x, float limit) {
  return minimum(maximum(x, broadcast(-limit)), broadcast(limit));
}

// One group of one column: 32 offset integers, four at a time 64 bytes apart.
void pack_group(const float* values, char* weights, char* scale) {
  const F32x16 low = load(values);
  const F32x16 high = load(values + kLanes);
  const uint16_t scale_bits = round_up_to_bfloat16(largest_magnitude(low, high) / 127.0f);
  const float step = float_of(static_cast<uint32_t>(scale_bits) << 16);
  float steps[kGroupDepth] = {};
  if (step > 0.0f) {
    store(steps, clamped(round_to_integer(low / broadcast(step)), 127.0f));
    store(steps + kLanes, clamped(round_to_integer(high / broadcast(step)), 127.0f));
  }
  uint8_t bytes[kGroupDepth];
  for (int i = 0; i < kGroupDepth; ++i) bytes[i] = static_cast<uint8_t>(static_cast<int>(steps[i]) + 128);
  for (int quad = 0; quad < kGroupDepth / 4; ++quad) {
    __builtin_memcpy(weights + quad * kPanelColumns * 4, bytes + quad * 4, 4);
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

// Where the weight of depth k and column c lies in a panel.
int64_t float8_place(int64_t k, int64_t c) {
  const int64_t in_pair = c * 2 + k % 2;
  return k / 4 * 64 + in_pair / 8 * 16 + k / 2 % 2 * 8 + in_pair % 8;
}

// The largest magnitude of a column; a NaN is larger than every number.
float largest_of_column(const PackArgs& args, int64_t n) {
  const Source source(args);
  float largest = 0.0f;
  for (int64_t k = 0; k < args.depth; k += kPieceDepth) {
    float values[kPieceDepth];
    source.read(n, k, kPieceDepth, values);
    largest = largest_magnitude(broadcast(largest),
                                broadcast(largest_magnitude(load(values), load(values + kLanes))));
  }
  return largest;
}

void pack_float8(const PackArgs& args, int64_t panel) {
  const Source source(args);
  uint8_t* const out = reinterpret_cast<uint8_t*>(panel_of(args, panel));
  for (int64_t c = 0; c < kPanelColumns; ++c) {
    const int64_t n = panel * kPanelColumns + c;
    const float scale = largest_of_column(args, n) / 448.0f;
    float8_scales(args)[n] = scale;
    if (!(scale > 0.0f)) continue;  // the bytes are zeros already
    for (int64_t k = 0; k < args.depth; k += kPieceDepth) {
      float values[kPieceDepth];
      source.read(n, k, kPieceDepth, values);
      for (int i = 0; i < kPieceDepth; i += kLanes) {
        store(values + i, clamped(load(values + i) / broadcast(scale), 448.0f));
      }
      uint8_t bytes[kPieceDepth];
      for (int i = 0; i < kPieceDepth; ++i) bytes[i] = to_float8(values[i]);
      for (int64_t i = 0; i < minimum(kPieceDepth, args.depth - k); ++i)
        out[float8_place(k + i, c)] = bytes[i];
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
      out[float8_place(k, c)] = row[k];
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
