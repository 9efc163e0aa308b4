#include "router/tokenizer/sentencepiece_model.h"

#include <google/protobuf/unknown_field_set.h>

#include <optional>

#include "absl/strings/str_cat.h"

namespace octet::router {
namespace {

using google::protobuf::UnknownField;
using google::protobuf::UnknownFieldSet;

// Field numbers of sentencepiece_model.proto.
constexpr int kModelPieces = 1;
constexpr int kModelTrainerSpec = 2;
constexpr int kModelNormalizerSpec = 3;
constexpr int kModelDenormalizerSpec = 5;
constexpr int kPieceType = 3;
constexpr int kTrainerModelType = 3;
constexpr int kTrainerWhitespaceAsSuffix = 24;
constexpr int kNormalizerCharsmap = 2;
constexpr int kNormalizerAddDummyPrefix = 3;
constexpr int kNormalizerRemoveExtraWhitespaces = 4;
constexpr int kNormalizerEscapeWhitespaces = 5;
constexpr uint64_t kModelTypeUnigram = 1;  // the default when the field is absent
constexpr uint64_t kModelTypeBpe = 2;

// Errors: the bytes are no protobuf message. what: the place in the file.
absl::Status parse(std::string_view bytes, const std::string& what, UnknownFieldSet& fields) {
  if (fields.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("is not a SentencePiece model (", what, " cannot be parsed)"));
}

// The last value of an integer field, as protobuf defines a field that repeats.
std::optional<uint64_t> integer(const UnknownFieldSet& fields, int number) {
  std::optional<uint64_t> value;
  for (int i = 0; i < fields.field_count(); ++i) {
    const UnknownField& field = fields.field(i);
    if (field.number() == number && field.type() == UnknownField::TYPE_VARINT) value = field.varint();
  }
  return value;
}

bool has_bytes(const UnknownFieldSet& fields, int number) {
  for (int i = 0; i < fields.field_count(); ++i) {
    const UnknownField& field = fields.field(i);
    const bool is_bytes = field.type() == UnknownField::TYPE_LENGTH_DELIMITED;
    if (field.number() == number && is_bytes && !field.length_delimited().empty()) return true;
  }
  return false;
}

absl::Status add_piece(const UnknownFieldSet& piece, SentencePieceFacts& facts) {
  const uint64_t kind = integer(piece, kPieceType).value_or(static_cast<uint64_t>(PieceKind::kNormal));
  if (kind < static_cast<uint64_t>(PieceKind::kNormal) || kind > static_cast<uint64_t>(PieceKind::kByte)) {
    return absl::InvalidArgumentError(
        absl::StrCat("piece ", facts.kinds.size(), " has the unknown type ", kind));
  }
  facts.kinds.push_back(static_cast<PieceKind>(kind));
  return absl::OkStatus();
}

void read_trainer(const UnknownFieldSet& trainer, SentencePieceFacts& facts) {
  facts.is_bpe = integer(trainer, kTrainerModelType).value_or(kModelTypeUnigram) == kModelTypeBpe;
  facts.treat_whitespace_as_suffix = integer(trainer, kTrainerWhitespaceAsSuffix).value_or(0) != 0;
}

void read_normalizer(const UnknownFieldSet& normalizer, SentencePieceFacts& facts) {
  facts.add_dummy_prefix = integer(normalizer, kNormalizerAddDummyPrefix).value_or(1) != 0;
  facts.remove_extra_whitespaces = integer(normalizer, kNormalizerRemoveExtraWhitespaces).value_or(1) != 0;
  facts.escape_whitespaces = integer(normalizer, kNormalizerEscapeWhitespaces).value_or(1) != 0;
}

}  // namespace

absl::StatusOr<SentencePieceFacts> read_sentencepiece_facts(std::string_view serialized_model) {
  UnknownFieldSet model;
  absl::Status status = parse(serialized_model, "the file", model);
  SentencePieceFacts facts;
  for (int i = 0; status.ok() && i < model.field_count(); ++i) {
    const UnknownField& field = model.field(i);
    const bool is_part = field.type() == UnknownField::TYPE_LENGTH_DELIMITED &&
                         (field.number() == kModelPieces || field.number() == kModelTrainerSpec ||
                          field.number() == kModelNormalizerSpec || field.number() == kModelDenormalizerSpec);
    if (!is_part) continue;
    UnknownFieldSet part;
    status = parse(field.length_delimited(), absl::StrCat("a part in field ", field.number()), part);
    if (!status.ok()) break;
    if (field.number() == kModelPieces) {
      status = add_piece(part, facts);
    } else if (field.number() == kModelTrainerSpec) {
      read_trainer(part, facts);
    } else if (field.number() == kModelNormalizerSpec) {
      read_normalizer(part, facts);
    } else {
      facts.has_denormalizer = has_bytes(part, kNormalizerCharsmap);
    }
  }
  if (!status.ok()) return status;
  return facts;
}

}  // namespace octet::router
