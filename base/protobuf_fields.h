// The fields of a serialized protobuf message, without a schema: enough to read a SentencePiece model file.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace octet {

struct ProtobufField {
  enum class Kind { kVarint, kFixed64, kBytes, kFixed32 };
  uint32_t number = 0;
  Kind kind = Kind::kVarint;
  uint64_t value = 0;      // of all but kBytes
  std::string_view bytes;  // of kBytes, a view of the message
};

// Errors: INVALID_ARGUMENT when the bytes are not a message.
absl::StatusOr<std::vector<ProtobufField>> parse_protobuf(std::string_view message);

}  // namespace octet
