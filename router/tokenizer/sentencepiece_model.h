// The facts of a SentencePiece model file that its library does not tell: the kinds of the pieces and the
// flags of the normaliser. Read from the file's protobuf fields.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace octet::router {

// Numbered as in the file.
enum class PieceKind { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

struct SentencePieceFacts {
  std::vector<PieceKind> kinds;  // [vocab_size]
  bool is_bpe = false;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;  // a space is U+2581 inside pieces
  bool treat_whitespace_as_suffix = false;
  bool has_denormalizer = false;
};

// Errors: INVALID_ARGUMENT when the bytes are not a protobuf message or a piece's kind is unknown.
absl::StatusOr<SentencePieceFacts> read_sentencepiece_facts(std::string_view serialized_model);

}  // namespace octet::router
