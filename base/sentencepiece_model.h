// A SentencePiece model file as a value: its pieces and the flags that change how text becomes pieces. Read
// by hand, because Debian's libsentencepiece carries an older protobuf of its own under the names of the real
// one and cannot be in one process with gRPC; the tests compare everything here with that library. The router
// makes its tokenizer from it; a last stage reads which bytes each token adds to a text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace octet {

inline constexpr std::string_view kSpaceSymbol = "\xE2\x96\x81";  // U+2581, a space inside pieces

// Numbered as in the file.
enum class PieceKind { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

struct SentencePieceModel {
  struct Piece {
    std::string text;
    float score = 0;
    PieceKind kind = PieceKind::kNormal;
  };
  std::vector<Piece> pieces;  // [vocab_size]

  bool is_bpe = false;
  bool byte_fallback = false;
  bool treat_whitespace_as_suffix = false;
  std::string unknown_surface = " \xE2\x81\x87 ";  // what <unk> decodes to: U+2047 between spaces
  std::string bos_piece = "<s>";
  std::string eos_piece = "</s>";

  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;  // spaces become U+2581
  std::string charsmap;            // rules that replace characters, compiled (char_map.h); empty: none
  bool has_denormalizer = false;
};

// "<0x0A>" -> 10; nothing for what is not the text of a byte piece.
std::optional<uint8_t> byte_of_piece(std::string_view piece);

// Errors: INVALID_ARGUMENT when the bytes are not a SentencePiece model, a piece has an unknown kind, is
// empty, is not UTF-8 or occurs twice, or there is not exactly one <unk>.
absl::StatusOr<SentencePieceModel> parse_sentencepiece_model(std::string_view bytes);

// The file's model, if it is one that Octet can use: BPE, spaces as U+2581 in front of words. Errors:
// NOT_FOUND or INVALID_ARGUMENT without the file's name.
absl::StatusOr<SentencePieceModel> read_sentencepiece_model(const std::string& path);

// The bytes that a piece adds in the middle of a text (" hello", "\n"); may be a part of a UTF-8 character.
// "" for a control piece.
std::string piece_bytes(const SentencePieceModel& model, const SentencePieceModel::Piece& piece);

// What decoding does to spaces that begin a text; the model file says so.
enum class LeadingSpace {
  kKept,          // the text keeps them
  kFirstDropped,  // the encoder put one in front (add_dummy_prefix); decoding takes one away
  kEachDropped,   // remove_extra_whitespaces: one is taken from each piece until there is text
};

LeadingSpace leading_space_of(const SentencePieceModel& model);

}  // namespace octet
