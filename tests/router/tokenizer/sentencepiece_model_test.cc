#include "base/sentencepiece_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/router/tokenizer/nano_tokenizer.h"

namespace octet::router {
namespace {

using testing::HasSubstr;

// Protobuf fields by hand, small enough that a length is one byte.
std::string varint(int value) {
  if (value < 0x80) return {static_cast<char>(value)};
  return {static_cast<char>(value | 0x80), static_cast<char>(value >> 7)};
}
std::string field(int number, const std::string& bytes) {
  return varint(number << 3 | 2) + varint(static_cast<int>(bytes.size())) + bytes;
}
std::string integer_field(int number, int value) {
  return varint(number << 3) + varint(value);
}
std::string piece(const std::string& text, int kind) {
  return field(1, field(1, text) + integer_field(3, kind));
}
const std::string kUnknownPiece = piece("<unk>", 2);

TEST(SentencePieceModel, ReadsTheNanoModel) {
  for (const TokenizerFlags& flags : all_flag_settings()) {
    const auto model = parse_sentencepiece_model(nano_model_bytes(flags));
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_EQ(model->pieces.size(), 1600U);
    EXPECT_EQ(model->pieces[0].text, "<pad>");
    EXPECT_EQ(model->pieces[0].kind, PieceKind::kControl);
    EXPECT_EQ(model->pieces[1].kind, PieceKind::kUnknown);
    EXPECT_EQ(model->pieces[5].kind, PieceKind::kUserDefined);
    EXPECT_EQ(model->pieces[22].kind, PieceKind::kByte);
    EXPECT_EQ(model->pieces[1599].kind, PieceKind::kNormal);
    EXPECT_EQ(model->pieces[1599].text, "X");
    EXPECT_LT(model->pieces[1599].score, -1000);
    EXPECT_TRUE(model->is_bpe && model->byte_fallback);
    EXPECT_EQ(model->add_dummy_prefix, flags.add_dummy_prefix);
    EXPECT_EQ(model->remove_extra_whitespaces, flags.remove_extra_whitespaces);
    EXPECT_FALSE(model->has_denormalizer || model->treat_whitespace_as_suffix || !model->charsmap.empty());
  }
}

TEST(SentencePieceModel, AbsentFieldsHaveTheLibrarysDefaults) {
  const auto model =
      parse_sentencepiece_model(kUnknownPiece + field(1, field(1, "a")) + field(2, "") + field(3, ""));
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->pieces[1].kind, PieceKind::kNormal);
  EXPECT_EQ(model->pieces[1].score, 0);
  EXPECT_FALSE(model->is_bpe || model->byte_fallback);
  EXPECT_TRUE(model->add_dummy_prefix && model->remove_extra_whitespaces && model->escape_whitespaces);
  EXPECT_EQ(model->unknown_surface, " \u2047 ");
}

TEST(SentencePieceModel, ReadsEveryField) {
  const std::string trainer = field(2, integer_field(3, 2) + integer_field(24, 1) + integer_field(35, 1) +
                                           field(44, "?") + field(46, "<b>"));
  const std::string normalizer = field(3, field(2, "map") + integer_field(5, 0));
  const auto model =
      parse_sentencepiece_model(kUnknownPiece + trainer + normalizer + field(5, field(2, "map")));
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_TRUE(model->is_bpe && model->byte_fallback && model->treat_whitespace_as_suffix &&
              model->has_denormalizer);
  EXPECT_FALSE(model->escape_whitespaces);
  EXPECT_EQ(model->charsmap, "map");
  EXPECT_EQ(model->unknown_surface, "?");
  EXPECT_EQ(model->bos_piece, "<b>");
}

std::string parse_error(const std::string& bytes) {
  const auto model = parse_sentencepiece_model(bytes);
  EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(model.status().message());
}

TEST(SentencePieceModel, RefusesPiecesThatCannotBe) {
  EXPECT_THAT(parse_error(kUnknownPiece + piece("a", 9)), HasSubstr("piece 1 has the unknown type 9"));
  EXPECT_THAT(parse_error(kUnknownPiece + piece("a", 1) + piece("a", 4)), HasSubstr("piece 2 occurs twice"));
  EXPECT_THAT(parse_error(kUnknownPiece + piece("", 1)), HasSubstr("piece 1 is empty"));
  EXPECT_THAT(parse_error(piece("\xFF", 1)), HasSubstr("not UTF-8"));
  EXPECT_THAT(parse_error(piece("a", 1)), HasSubstr("has 0 pieces of the type unknown"));
  EXPECT_THAT(parse_error(kUnknownPiece + piece("b", 2)), HasSubstr("has 2 pieces of the type unknown"));
}

TEST(SentencePieceModel, RefusesBytesThatAreNoMessage) {
  parse_error("{\"a\": 1}");
  parse_error(std::string(20, '\xFF'));
  EXPECT_THAT(parse_error(field(1, "\x0A\x7F")), HasSubstr("field 1"));
}

}  // namespace
}  // namespace octet::router
