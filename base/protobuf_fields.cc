#include "base/protobuf_fields.h"

#include <limits>
#include <optional>

#include "absl/status/status.h"

namespace octet {
namespace {

// The readers take what they read off the front of bytes; nothing when bytes end before.
std::optional<uint64_t> read_varint(std::string_view& bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes.size() && i < 10; ++i) {
    const auto byte = static_cast<unsigned char>(bytes[i]);
    value |= uint64_t{byte & 0x7FU} << (7 * i);
    if (byte < 0x80) {
      bytes.remove_prefix(i + 1);
      return value;
    }
  }
  return std::nullopt;
}

std::optional<uint64_t> read_little_endian(std::string_view& bytes, size_t num_bytes) {
  if (bytes.size() < num_bytes) return std::nullopt;
  uint64_t value = 0;
  for (size_t i = 0; i < num_bytes; ++i) value |= uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  bytes.remove_prefix(num_bytes);
  return value;
}

std::optional<std::string_view> read_bytes(std::string_view& bytes) {
  const auto length = read_varint(bytes);
  if (!length || *length > bytes.size()) return std::nullopt;
  const std::string_view read = bytes.substr(0, *length);
  bytes.remove_prefix(*length);
  return read;
}

bool read_value(uint64_t wire_type, std::string_view& bytes, ProtobufField& field) {
  std::optional<uint64_t> value;
  if (wire_type == 0) {
    field.kind = ProtobufField::Kind::kVarint;
    value = read_varint(bytes);
  } else if (wire_type == 1) {
    field.kind = ProtobufField::Kind::kFixed64;
    value = read_little_endian(bytes, 8);
  } else if (wire_type == 2) {
    field.kind = ProtobufField::Kind::kBytes;
    const auto read = read_bytes(bytes);
    field.bytes = read.value_or(std::string_view());
    return read.has_value();
  } else if (wire_type == 5) {
    field.kind = ProtobufField::Kind::kFixed32;
    value = read_little_endian(bytes, 4);
  }
  field.value = value.value_or(0);
  return value.has_value();
}

}  // namespace

absl::StatusOr<std::vector<ProtobufField>> parse_protobuf(std::string_view message) {
  std::vector<ProtobufField> fields;
  while (!message.empty()) {
    ProtobufField field;
    const auto tag = read_varint(message);
    const bool has_number = tag && *tag >> 3 != 0 && *tag <= std::numeric_limits<uint32_t>::max();
    if (!has_number || !read_value(*tag & 7, message, field))
      return absl::InvalidArgumentError("not a protobuf message");
    field.number = static_cast<uint32_t>(*tag >> 3);
    fields.push_back(field);
  }
  return fields;
}

}  // namespace octet
