#include "tests/worker/model/fp8_checkpoint.h"

#include <algorithm>
#include <array>
#include <bit>
#include <boost/json.hpp>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "worker/checkpoint/mapped_file.h"
#include "worker/checkpoint/safetensors_header.h"

namespace octet::worker {
namespace {

constexpr float kLargest = 448;
constexpr uint8_t kLargestBits = 0x7e;

float widened(uint16_t bfloat16) {
  return std::bit_cast<float>(uint32_t{bfloat16} << 16);
}

// To the nearest, ties to even: the values of the non-negative bytes rise with them.
uint8_t fp8_of(float value) {
  static const auto kValues = [] {
    std::array<float, kLargestBits + 1> values{};
    for (size_t bits = 0; bits < values.size(); ++bits)
      values[bits] = value_of_fp8(static_cast<uint8_t>(bits));
    return values;
  }();
  const float magnitude = std::min(std::abs(value), kLargest);
  const auto above = std::lower_bound(kValues.begin(), kValues.end(), magnitude);
  auto bits = static_cast<uint8_t>(above - kValues.begin());
  if (bits > 0) {
    const float to_above = *above - magnitude;
    const float to_below = magnitude - kValues[bits - 1u];
    if (to_below < to_above || (to_below == to_above && bits % 2 == 1)) --bits;
  }
  return static_cast<uint8_t>(bits | (std::signbit(value) ? 0x80 : 0));
}

float scale_of(std::span<const uint16_t> values) {
  float largest = 1e-12f;
  for (const uint16_t value : values) largest = std::max(largest, std::abs(widened(value)));
  return largest / kLargest;
}

// The tensors of a file under way.
class Writer {
 public:
  void add(const std::string& name, const char* dtype, const std::vector<int64_t>& shape,
           std::string_view bytes) {
    header_[name] = {{"dtype", dtype},
                     {"shape", boost::json::array(shape.begin(), shape.end())},
                     {"data_offsets", {data_.size(), data_.size() + bytes.size()}}};
    data_ += bytes;
  }
  std::string file() const {
    std::string header = boost::json::serialize(header_);
    while (header.size() % 8 != 0) header += ' ';
    return length_prefix(header.size()) + header + data_;
  }

 private:
  boost::json::object header_;
  std::string data_;
};

template <typename T>
std::string_view bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

void add_matrix(Writer& writer, const std::string& name, const TensorRecord& record,
                std::span<const uint16_t> values, ScaleShape scale_shape) {
  const auto num_rows = static_cast<size_t>(record.shape[0]);
  const size_t num_scales = scale_shape == ScaleShape::kRows ? num_rows : 1;
  const size_t part = values.size() / num_scales;
  std::vector<float> scales;
  std::vector<uint8_t> quantised;
  for (size_t i = 0; i < num_scales; ++i) {
    const std::span<const uint16_t> scaled = values.subspan(i * part, part);
    scales.push_back(scale_of(scaled));
    for (const uint16_t value : scaled) quantised.push_back(fp8_of(widened(value) / scales.back()));
  }
  // Scales first: bytes after them would leave them unaligned.
  std::vector<int64_t> shape = {static_cast<int64_t>(num_scales)};
  if (scale_shape == ScaleShape::kScalar) shape.clear();
  writer.add(name + "_scale", "F32", shape, bytes_of(scales));
  writer.add(name.substr(0, name.rfind('.')) + ".input_scale", "F32", {}, bytes_of(std::vector<float>{1}));
  writer.add(name, "F8_E4M3", record.shape, bytes_of(quantised));
}

}  // namespace

float value_of_fp8(uint8_t bits) {
  const int exponent = bits >> 3 & 15;
  const int mantissa = bits & 7;
  if ((bits & 0x7f) == 0x7f) return std::numeric_limits<float>::quiet_NaN();
  const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                                        : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
  return (bits & 0x80) != 0 ? -magnitude : magnitude;
}

void write_fp8_checkpoint(const TemporaryFolder& folder, ScaleShape scale_shape) {
  const std::string path = "deploy/nano/model.safetensors";
  const auto file = MappedFile::open(path).value();
  Writer writer;
  const TensorRecords records = read_safetensors_header(file->bytes(), path).value();
  for (const auto& [name, record] : records) {
    const auto* data = reinterpret_cast<const char*>(file->bytes().data() + record.offset);
    if (name.ends_with("_proj.weight")) {
      std::vector<uint16_t> values(record.num_bytes / 2);
      std::copy_n(data, record.num_bytes, reinterpret_cast<char*>(values.data()));
      add_matrix(writer, name, record, values, scale_shape);
    } else {
      writer.add(name, record.dtype.c_str(), record.shape, {data, record.num_bytes});
    }
  }
  folder.write("model.safetensors", writer.file());
  boost::json::value config = boost::json::parse(read_file("deploy/nano/config.json"));
  config.as_object()["quantization_config"] = {{"quant_method", "fp8"}, {"activation_scheme", "static"}};
  folder.write("config.json", boost::json::serialize(config));
}

}  // namespace octet::worker
