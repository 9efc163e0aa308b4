#include "worker/checkpoint/safetensors_header.h"

#include <array>
#include <boost/json.hpp>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace octet::worker {
namespace {

namespace json = boost::json;

constexpr size_t kLengthBytes = 8;  // the header's length, little-endian, before the header
constexpr size_t kMaxDimensions = 8;
constexpr size_t kMaxJsonDepth = 8;

absl::Status broken(absl::string_view path, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", what));
}

absl::Status broken_tensor(absl::string_view path, absl::string_view name, absl::string_view what) {
  return broken(path, absl::StrCat("tensor ", quoted(name), ": ", what));
}

std::optional<int64_t> element_bytes_of(absl::string_view dtype) {
  constexpr std::array<std::pair<absl::string_view, int64_t>, 15> kSizes = {{{"BOOL", 1},
                                                                             {"U8", 1},
                                                                             {"I8", 1},
                                                                             {"F8_E4M3", 1},
                                                                             {"F8_E5M2", 1},
                                                                             {"U16", 2},
                                                                             {"I16", 2},
                                                                             {"F16", 2},
                                                                             {"BF16", 2},
                                                                             {"U32", 4},
                                                                             {"I32", 4},
                                                                             {"F32", 4},
                                                                             {"U64", 8},
                                                                             {"I64", 8},
                                                                             {"F64", 8}}};
  for (const auto& [name, size] : kSizes) {
    if (name == dtype) return size;
  }
  return std::nullopt;
}

std::optional<uint64_t> unsigned_of(const json::value& value) {
  if (value.is_uint64()) return value.get_uint64();
  if (value.is_int64() && value.get_int64() >= 0) return static_cast<uint64_t>(value.get_int64());
  return std::nullopt;
}

absl::StatusOr<json::object> parse_object(absl::string_view text, absl::string_view path) {
  json::parse_options options;
  options.max_depth = kMaxJsonDepth;
  boost::system::error_code error;
  json::value value = json::parse(json::string_view(text.data(), text.size()), error, {}, options);
  if (error) return broken(path, absl::StrCat("is not valid JSON: ", error.message()));
  if (!value.is_object()) return broken(path, "its JSON is not an object");
  return std::move(value.get_object());
}

// The tensor's shape and, multiplied out, its size in elements.
absl::StatusOr<uint64_t> read_shape(const json::object& fields, absl::string_view path,
                                    absl::string_view name, std::vector<int64_t>& shape) {
  const json::value* value = fields.if_contains("shape");
  if (value == nullptr || !value->is_array()) return broken_tensor(path, name, "has no \"shape\" array");
  const json::array& sizes = value->get_array();
  if (sizes.size() > kMaxDimensions) {
    return broken_tensor(path, name,
                         absl::StrCat("has ", sizes.size(), " dimensions, limit ", kMaxDimensions));
  }
  uint64_t num_elements = 1;
  for (const json::value& entry : sizes) {
    const std::optional<uint64_t> size = unsigned_of(entry);
    if (!size || *size > INT64_MAX)
      return broken_tensor(path, name, "has a shape that is not of whole numbers");
    if (__builtin_mul_overflow(num_elements, *size, &num_elements)) {
      return broken_tensor(path, name, "has a shape too large to address");
    }
    shape.push_back(static_cast<int64_t>(*size));
  }
  return num_elements;
}

// The tensor's [begin, end) in the data that follows the header.
absl::StatusOr<std::pair<uint64_t, uint64_t>> read_offsets(const json::object& fields, absl::string_view path,
                                                           absl::string_view name, uint64_t data_bytes) {
  const json::value* value = fields.if_contains("data_offsets");
  if (value == nullptr || !value->is_array() || value->get_array().size() != 2) {
    return broken_tensor(path, name, "has no \"data_offsets\" pair");
  }
  const std::optional<uint64_t> begin = unsigned_of(value->get_array()[0]);
  const std::optional<uint64_t> end = unsigned_of(value->get_array()[1]);
  if (!begin || !end || *begin > *end) {
    return broken_tensor(path, name, "has data_offsets that are no range of whole numbers");
  }
  if (*end > data_bytes) {
    return broken_tensor(path, name,
                         absl::StrCat("ends at byte ", *end, " of the data, but the file holds ", data_bytes,
                                      " (truncated?)"));
  }
  return std::pair(*begin, *end);
}

absl::StatusOr<TensorRecord> read_record(const json::value& value, absl::string_view path,
                                         absl::string_view name, uint64_t data_offset, uint64_t data_bytes) {
  if (!value.is_object()) return broken_tensor(path, name, "its entry is not an object");
  const json::object& fields = value.get_object();
  TensorRecord record;

  const json::value* dtype = fields.if_contains("dtype");
  if (dtype == nullptr || !dtype->is_string()) return broken_tensor(path, name, "has no \"dtype\" string");
  record.dtype = std::string(dtype->get_string());
  const std::optional<int64_t> element_bytes = element_bytes_of(record.dtype);
  if (!element_bytes)
    return broken_tensor(path, name, absl::StrCat("has the unknown dtype ", quoted(record.dtype)));
  record.element_bytes = *element_bytes;

  const auto num_elements = read_shape(fields, path, name, record.shape);
  if (!num_elements.ok()) return num_elements.status();
  const auto range = read_offsets(fields, path, name, data_bytes);
  if (!range.ok()) return range.status();

  uint64_t expected_bytes = 0;
  if (__builtin_mul_overflow(*num_elements, static_cast<uint64_t>(*element_bytes), &expected_bytes)) {
    return broken_tensor(path, name, "has a shape too large to address");
  }
  record.num_bytes = range->second - range->first;
  if (record.num_bytes != expected_bytes) {
    return broken_tensor(
        path, name,
        absl::StrCat("has ", record.num_bytes, " bytes, but its dtype and shape need ", expected_bytes));
  }
  record.offset = data_offset + range->first;
  return record;
}

absl::Status check_no_overlap(const TensorRecords& records, absl::string_view path) {
  std::map<uint64_t, TensorRecords::const_iterator> by_offset;
  for (auto it = records.begin(); it != records.end(); ++it) {
    if (it->second.num_bytes == 0) continue;
    const auto [other, inserted] = by_offset.emplace(it->second.offset, it);
    if (!inserted) {
      return broken_tensor(path, it->first, absl::StrCat("overlaps tensor ", quoted(other->second->first)));
    }
  }
  uint64_t previous_end = 0;
  absl::string_view previous_name;
  for (const auto& [offset, it] : by_offset) {
    if (offset < previous_end) {
      return broken_tensor(path, it->first, absl::StrCat("overlaps tensor ", quoted(previous_name)));
    }
    previous_end = offset + it->second.num_bytes;
    previous_name = it->first;
  }
  return absl::OkStatus();
}

absl::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

std::string quoted(absl::string_view name) {
  constexpr size_t kMaxShown = 128;
  const bool cut = name.size() > kMaxShown;
  return absl::StrCat("\"", absl::CHexEscape(absl::string_view(name.data(), cut ? kMaxShown : name.size())),
                      cut ? "...\"" : "\"");
}

absl::StatusOr<TensorRecords> read_safetensors_header(std::span<const std::byte> file,
                                                      absl::string_view path) {
  if (file.size() < kLengthBytes) {
    return broken(path,
                  absl::StrCat("is no safetensors file: ", file.size(), " bytes are too few for a header"));
  }
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.data(), kLengthBytes);
  if (header_bytes > kMaxHeaderBytes) {
    return broken(path, absl::StrCat("is no safetensors file: header of ", header_bytes, " bytes, limit ",
                                     kMaxHeaderBytes));
  }
  if (header_bytes > file.size() - kLengthBytes) {
    return broken(path, absl::StrCat("its header of ", header_bytes, " bytes does not fit in the file's ",
                                     file.size(), " (truncated?)"));
  }
  const auto header = parse_object(text_of(file.subspan(kLengthBytes, header_bytes)), path);
  if (!header.ok()) return header.status();

  const uint64_t data_offset = kLengthBytes + header_bytes;
  TensorRecords records;
  for (const json::key_value_pair& entry : *header) {
    const absl::string_view name(entry.key().data(), entry.key().size());
    if (name == "__metadata__") continue;
    auto record = read_record(entry.value(), path, name, data_offset, file.size() - data_offset);
    if (!record.ok()) return record.status();
    records.emplace(std::string(name), *std::move(record));
  }
  if (const absl::Status status = check_no_overlap(records, path); !status.ok()) return status;
  return records;
}

absl::StatusOr<std::map<std::string, std::string>> read_safetensors_index(std::span<const std::byte> file,
                                                                          absl::string_view path) {
  if (file.size() > kMaxHeaderBytes) {
    return broken(path, absl::StrCat("has ", file.size(), " bytes, limit ", kMaxHeaderBytes));
  }
  const auto index = parse_object(text_of(file), path);
  if (!index.ok()) return index.status();
  const json::value* weight_map = index->if_contains("weight_map");
  if (weight_map == nullptr || !weight_map->is_object()) return broken(path, "has no \"weight_map\" object");

  std::map<std::string, std::string> files;
  for (const json::key_value_pair& entry : weight_map->get_object()) {
    const std::string name(entry.key().data(), entry.key().size());
    if (!entry.value().is_string()) return broken_tensor(path, name, "its file is not a string");
    std::string shard(entry.value().get_string());
    if (shard.empty() || shard == "." || shard == ".." || shard.find('/') != std::string::npos ||
        shard.find('\0') != std::string::npos) {
      return broken_tensor(
          path, name,
          absl::StrCat("its file ", quoted(shard), " is not the plain name of a file in the same folder"));
    }
    files.emplace(name, std::move(shard));
  }
  return files;
}

}  // namespace octet::worker
