#include "base/sentencepiece_model.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <unordered_set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/protobuf_fields.h"
#include "base/status.h"
#include "base/utf8.h"

namespace octet {
namespace {

using Fields = std::vector<ProtobufField>;

// Field numbers of sentencepiece_model.proto.
constexpr uint32_t kModelPieces = 1;
constexpr uint32_t kModelTrainerSpec = 2;
constexpr uint32_t kModelNormalizerSpec = 3;
constexpr uint32_t kModelDenormalizerSpec = 5;
constexpr uint32_t kPieceText = 1;
constexpr uint32_t kPieceScore = 2;
constexpr uint32_t kPieceType = 3;
constexpr uint32_t kTrainerModelType = 3;
constexpr uint32_t kTrainerWhitespaceAsSuffix = 24;
constexpr uint32_t kTrainerByteFallback = 35;
constexpr uint32_t kTrainerUnknownSurface = 44;
constexpr uint32_t kTrainerBosPiece = 46;
constexpr uint32_t kTrainerEosPiece = 47;
constexpr uint32_t kNormalizerCharsmap = 2;
constexpr uint32_t kNormalizerAddDummyPrefix = 3;
constexpr uint32_t kNormalizerRemoveExtraWhitespaces = 4;
constexpr uint32_t kNormalizerEscapeWhitespaces = 5;
constexpr uint64_t kModelTypeBpe = 2;
constexpr uintmax_t kMaxModelBytes = 64 << 20;  // the family's files have 4.5 MB

absl::Status read_piece(const Fields& fields, SentencePieceModel& model) {
  SentencePieceModel::Piece piece;
  for (const ProtobufField& field : fields) {
    if (field.number == kPieceText && field.kind == ProtobufField::Kind::kBytes) piece.text = field.bytes;
    if (field.number == kPieceScore && field.kind == ProtobufField::Kind::kFixed32) {
      piece.score = std::bit_cast<float>(static_cast<uint32_t>(field.value));
    }
    if (field.number != kPieceType || field.kind != ProtobufField::Kind::kVarint) continue;
    if (field.value < 1 || field.value > static_cast<uint64_t>(PieceKind::kByte)) {
      return absl::InvalidArgumentError(
          absl::StrCat("piece ", model.pieces.size(), " has the unknown type ", field.value));
    }
    piece.kind = static_cast<PieceKind>(field.value);
  }
  if (piece.text.empty() || !is_valid_utf8(piece.text) || !std::isfinite(piece.score)) {
    return absl::InvalidArgumentError(
        absl::StrCat("piece ", model.pieces.size(), " is empty, not UTF-8 or has a score that is no number"));
  }
  model.pieces.push_back(std::move(piece));
  return absl::OkStatus();
}

void read_trainer(const Fields& fields, SentencePieceModel& model) {
  for (const ProtobufField& field : fields) {
    if (field.number == kTrainerModelType) model.is_bpe = field.value == kModelTypeBpe;
    if (field.number == kTrainerWhitespaceAsSuffix) model.treat_whitespace_as_suffix = field.value != 0;
    if (field.number == kTrainerByteFallback) model.byte_fallback = field.value != 0;
    if (field.number == kTrainerUnknownSurface) model.unknown_surface = field.bytes;
    if (field.number == kTrainerBosPiece) model.bos_piece = field.bytes;
    if (field.number == kTrainerEosPiece) model.eos_piece = field.bytes;
  }
}

void read_normalizer(const Fields& fields, SentencePieceModel& model) {
  for (const ProtobufField& field : fields) {
    if (field.number == kNormalizerCharsmap) model.charsmap = field.bytes;
    if (field.number == kNormalizerAddDummyPrefix) model.add_dummy_prefix = field.value != 0;
    if (field.number == kNormalizerRemoveExtraWhitespaces) model.remove_extra_whitespaces = field.value != 0;
    if (field.number == kNormalizerEscapeWhitespaces) model.escape_whitespaces = field.value != 0;
  }
}

void read_denormalizer(const Fields& fields, SentencePieceModel& model) {
  for (const ProtobufField& field : fields) {
    if (field.number == kNormalizerCharsmap) model.has_denormalizer = !field.bytes.empty();
  }
}

absl::Status check_pieces(const SentencePieceModel& model) {
  std::unordered_set<std::string_view> texts;
  size_t num_unknown = 0;
  for (size_t i = 0; i < model.pieces.size(); ++i) {
    if (!texts.insert(model.pieces[i].text).second) {
      return absl::InvalidArgumentError(absl::StrCat("piece ", i, " occurs twice"));
    }
    num_unknown += model.pieces[i].kind == PieceKind::kUnknown ? 1 : 0;
  }
  if (num_unknown == 1) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("has ", num_unknown, " pieces of the type unknown instead of 1"));
}

absl::StatusOr<std::string> read_model_file(const std::string& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) return absl::NotFoundError("not found");
  if (!std::filesystem::is_regular_file(status)) return absl::InvalidArgumentError("not a file");
  const uintmax_t num_bytes = std::filesystem::file_size(path, error);
  if (error || num_bytes == 0 || num_bytes > kMaxModelBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("has ", error ? 0 : num_bytes, " bytes; expected 1 to ", kMaxModelBytes));
  }
  std::string bytes(num_bytes, '\0');
  std::ifstream file(path, std::ios::binary);
  if (!file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()))) {
    return absl::InvalidArgumentError("cannot be read");
  }
  return bytes;
}

// What the rest relies on.
absl::Status check_supported(const SentencePieceModel& model) {
  const auto unsupported = [](const char* what) { return absl::InvalidArgumentError(what); };
  if (!model.is_bpe) return unsupported("is not of the type BPE");
  if (!model.escape_whitespaces) return unsupported("has escape_whitespaces off, which is not supported");
  if (model.treat_whitespace_as_suffix)
    return unsupported("has treat_whitespace_as_suffix on, which is not supported");
  if (model.has_denormalizer) return unsupported("has a denormalizer, which is not supported");
  std::vector<bool> has_byte(256, false);
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    if (model.pieces[id].kind != PieceKind::kByte) continue;
    const auto byte = byte_of_piece(model.pieces[id].text);
    if (!byte)
      return absl::InvalidArgumentError(absl::StrCat("byte piece ", id, " is not of the form <0x0A>"));
    has_byte[*byte] = true;
  }
  if (model.byte_fallback && std::count(has_byte.begin(), has_byte.end(), true) != 256) {
    return absl::InvalidArgumentError("has byte_fallback on but not all 256 byte pieces");
  }
  return absl::OkStatus();
}

}  // namespace

std::optional<uint8_t> byte_of_piece(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return std::nullopt;
  uint8_t byte = 0;
  const auto [end, error] = std::from_chars(piece.data() + 3, piece.data() + 5, byte, 16);
  if (error != std::errc() || end != piece.data() + 5) return std::nullopt;
  return byte;
}

absl::StatusOr<SentencePieceModel> parse_sentencepiece_model(std::string_view bytes) {
  const auto fields = parse_protobuf(bytes);
  if (!fields.ok()) return absl::InvalidArgumentError("is not a SentencePiece model");
  SentencePieceModel model;
  for (const ProtobufField& field : *fields) {
    if (field.kind != ProtobufField::Kind::kBytes) continue;
    if (field.number != kModelPieces && field.number != kModelTrainerSpec &&
        field.number != kModelNormalizerSpec && field.number != kModelDenormalizerSpec) {
      continue;
    }
    const auto part = parse_protobuf(field.bytes);
    if (!part.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("is not a SentencePiece model (field ", field.number, " is broken)"));
    }
    if (field.number == kModelPieces) {
      const absl::Status read = read_piece(*part, model);
      if (!read.ok()) return read;
    } else if (field.number == kModelTrainerSpec) {
      read_trainer(*part, model);
    } else if (field.number == kModelNormalizerSpec) {
      read_normalizer(*part, model);
    } else {
      read_denormalizer(*part, model);
    }
  }
  const absl::Status checked = check_pieces(model);
  if (!checked.ok()) return checked;
  return model;
}

absl::StatusOr<SentencePieceModel> read_sentencepiece_model(const std::string& path) {
  const auto bytes = read_model_file(path);
  if (!bytes.ok()) return bytes.status();
  auto model = parse_sentencepiece_model(*bytes);
  if (!model.ok()) return model.status();
  const absl::Status supported = check_supported(*model);
  if (!supported.ok()) return supported;
  return model;
}

std::string piece_bytes(const SentencePieceModel& model, const SentencePieceModel::Piece& piece) {
  switch (piece.kind) {
    case PieceKind::kControl:
      return "";
    case PieceKind::kUnknown:
      return model.unknown_surface;
    case PieceKind::kByte:
      return std::string(1, static_cast<char>(*byte_of_piece(piece.text)));
    default:
      return absl::StrReplaceAll(piece.text, {{absl_view(kSpaceSymbol), " "}});
  }
}

LeadingSpace leading_space_of(const SentencePieceModel& model) {
  if (model.remove_extra_whitespaces) return LeadingSpace::kEachDropped;
  return model.add_dummy_prefix ? LeadingSpace::kFirstDropped : LeadingSpace::kKept;
}

}  // namespace octet
