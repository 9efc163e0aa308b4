#include "router/tokenizer/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/value.hpp>
#include <boost/json/value_to.hpp>
#include <filesystem>

#include "base/utf8.h"
#include "tests/router/tokenizer/nano_tokenizer.h"

namespace octet::router {
namespace {

using testing::HasSubstr;

TEST(Tokenizer, EncodesAndDecodesTheGoldenTexts) {
  const boost::json::value cases = parse_json_file("tests/golden/tokenizer.json");
  ASSERT_EQ(cases.as_array().size(), 39U);
  for (const boost::json::value& golden : cases.as_array()) {
    const std::string text = golden.at("text").as_string().c_str();
    const std::string whole(golden.at("text").as_string().data(), golden.at("text").as_string().size());
    const auto ids = boost::json::value_to<std::vector<TokenId>>(golden.at("ids"));
    EXPECT_EQ(nano_tokenizer()->encode(whole), ids) << text;
    EXPECT_EQ(nano_tokenizer()->decode(ids), boost::json::value_to<std::string>(golden.at("decoded")))
        << text;
  }
}

TEST(Tokenizer, KnowsItsPieces) {
  const Tokenizer& tokenizer = *nano_tokenizer();
  EXPECT_EQ(tokenizer.vocab_size(), 1600U);
  EXPECT_EQ(tokenizer.piece(tokenizer.bos_id()), "<s>");
  EXPECT_EQ(tokenizer.piece(tokenizer.eos_id()), "</s>");
  EXPECT_EQ(tokenizer.piece_id("<s>"), tokenizer.bos_id());
  const TokenId turn = tokenizer.piece_id("<extra_id_1>").value();
  EXPECT_EQ(tokenizer.piece(turn), "<extra_id_1>");
  EXPECT_TRUE(tokenizer.is_special(turn));
  EXPECT_FALSE(tokenizer.is_control(turn));
  EXPECT_EQ(tokenizer.bytes(turn), "<extra_id_1>");
  EXPECT_TRUE(tokenizer.is_control(tokenizer.eos_id()));
  EXPECT_TRUE(tokenizer.is_control(tokenizer.piece_id("<pad>").value()));
  EXPECT_EQ(tokenizer.bytes(tokenizer.eos_id()), "");
  const TokenId newline = tokenizer.piece_id("<0x0A>").value();
  EXPECT_TRUE(tokenizer.is_byte(newline));
  EXPECT_EQ(tokenizer.bytes(newline), "\n");
  EXPECT_FALSE(tokenizer.strips_leading_space());
}

TEST(Tokenizer, HasNoIdForWhatIsNotAPiece) {
  EXPECT_EQ(nano_tokenizer()->piece_id("<|endoftext|>"), std::nullopt);
  EXPECT_EQ(nano_tokenizer()->piece_id(""), std::nullopt);
  EXPECT_NE(nano_tokenizer()->piece_id("<unk>"), std::nullopt);
}

TEST(Tokenizer, IdsBeyondThePiecesHaveNoText) {
  const Tokenizer& tokenizer = *nano_tokenizer();
  for (const TokenId id : {1600U, 1U << 31, ~0U}) {
    EXPECT_EQ(tokenizer.piece(id), "");
    EXPECT_EQ(tokenizer.bytes(id), "");
    EXPECT_FALSE(tokenizer.is_control(id) || tokenizer.is_special(id) || tokenizer.is_byte(id));
    const TokenId a = tokenizer.encode("a").front();
    EXPECT_EQ(tokenizer.decode(std::vector<TokenId>{a, id, a}), "aa");
  }
}

TEST(Tokenizer, BytesOfTheTokensSpellTheTextInTheMiddle) {
  const Tokenizer& tokenizer = *nano_tokenizer();
  std::mt19937 random(2);
  for (int round = 0; round < 2000; ++round) {
    const std::string text = random_ordinary_text(random);
    std::string spelled;
    for (const TokenId id : tokenizer.encode(text)) {
      EXPECT_LE(tokenizer.bytes(id).size(), tokenizer.max_piece_bytes());
      spelled.append(tokenizer.bytes(id));
    }
    ASSERT_EQ(spelled, text);
  }
}

TEST(Tokenizer, ContinuationIsTheEndOfALongerText) {
  std::mt19937 random(3);
  for (const TokenizerFlags& flags : all_flag_settings()) {
    const auto tokenizer = nano_tokenizer_with(flags);
    const std::vector<TokenId> front = tokenizer->encode("<extra_id_3>");
    for (int round = 0; round < 500; ++round) {
      const std::string text = random_text(random);
      std::vector<TokenId> whole = tokenizer->encode("<extra_id_3>" + text);
      ASSERT_TRUE(std::equal(front.begin(), front.end(), whole.begin()));
      whole.erase(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(front.size()));
      ASSERT_EQ(tokenizer->encode_continuation(text), whole);
    }
  }
}

TEST(Tokenizer, SurvivesAMebibyteOfOneLetter) {
  const std::string text(1 << 20, 'a');
  const std::vector<TokenId> ids = nano_tokenizer()->encode(text);
  EXPECT_EQ(nano_tokenizer()->decode(ids), text);
}

std::string load_error(const std::string& path) {
  const auto tokenizer = Tokenizer::load(path);
  EXPECT_FALSE(tokenizer.ok());
  std::string message(tokenizer.status().message());
  EXPECT_THAT(message, HasSubstr(path));
  return message;
}

TEST(TokenizerLoad, NamesAMissingFile) {
  EXPECT_EQ(Tokenizer::load("no/such.model").status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(load_error("no/such.model"), HasSubstr("not found"));
}

TEST(TokenizerLoad, RefusesWhatIsNoModel) {
  EXPECT_THAT(load_error("deploy"), HasSubstr("not a file"));
  EXPECT_THAT(load_error(temporary_file("empty.model", "")), HasSubstr("has 0 bytes"));
  EXPECT_THAT(load_error("deploy/nano/config.json"), HasSubstr("SentencePiece model"));
  const std::string good = nano_model_bytes({});
  for (const size_t length : {size_t{1}, size_t{100}, good.size() / 2, good.size() - 1}) {
    const auto tokenizer = Tokenizer::load(temporary_file("truncated.model", good.substr(0, length)));
    EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kInvalidArgument) << length;
  }
}

TEST(TokenizerLoad, RandomDamageIsAnErrorOrAnotherModelNeverACrash) {
  const std::string good = nano_model_bytes({});
  std::mt19937 random(4);
  for (int round = 0; round < 200; ++round) {
    std::string bytes = good;
    for (int i = 0; i < 3; ++i) bytes[random() % bytes.size()] = static_cast<char>(random());
    const auto tokenizer = Tokenizer::load(temporary_file("damaged.model", bytes));
    if (tokenizer.ok()) (*tokenizer)->encode_plain("<extra_id_1> hello \u2581");
  }
}

}  // namespace
}  // namespace octet::router
