// Octet's tokenizer against Google's library: the same ids for any text and the same text for any ids, with
// models of many settings trained here.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "base/utf8.h"
#include "router/tokenizer/tokenizer.h"
#include "tests/router/tokenizer/nano_tokenizer.h"
#include "tests/router/tokenizer/sentencepiece_oracle.h"

namespace octet::router {
namespace {

std::vector<std::string> training_sentences() {
  std::vector<std::string> sentences;
  std::ifstream source("tests/golden/heldout.jsonl");
  for (std::string line; sentences.size() < 400 && std::getline(source, line);) sentences.push_back(line);
  for (int i = 0; i < 20; ++i)
    sentences.push_back("ﬁne  ½ Ⅳ \u3000 ＡＢＣ naïve 日本語 日本 ßaaaa a\u0301    if  x:        return x");
  return sentences;
}

// Text that the normalisers' rules change, broken UTF-8 included.
std::string random_rough_text(std::mt19937& random) {
  constexpr std::string_view kRough[] = {
      "ﬁ", "½",  "Ⅳ",      "\u3000",   "\u00a0",       "Ａ", "＜extra_id_1＞", "a\u0301", "\u0301",
      "ß", "日", "本",     "\xE2\x82", "\xFF",         "\t", "\r\n",           "\u200b",  "\ufeff",
      " ", "İ",  "\uFF5E", "\u0345",   "\u1E9B\u0323", "한"};
  static const std::vector<std::string> sentences = training_sentences();
  std::string text;
  for (size_t i = random() % 8; i > 0; --i) {
    const std::string& sentence = sentences[random() % sentences.size()];
    switch (random() % 4) {
      case 0:
        text.append(sentence, random() % sentence.size(), random() % 30);  // may cut characters
        break;
      case 1:
        text.append(random_text(random));
        break;
      default:
        text.append(kRough[random() % std::size(kRough)]);
    }
  }
  return text;
}

// Whether plain text becomes the same: no U+2581, no special piece of several characters.
bool is_ordinary(const std::string& text, const std::vector<TokenId>& ids, const Tokenizer& tokenizer) {
  const bool has_special = std::any_of(ids.begin(), ids.end(), [&](TokenId id) {
    return tokenizer.is_special(id) && scan_utf8(tokenizer.piece(id)).num_bytes < tokenizer.piece(id).size();
  });
  return !has_special && text.find("\u2581") == std::string::npos;
}

void expect_equal(const std::string& model_bytes, int num_rounds) {
  const SentencePieceOracle oracle(model_bytes);
  const auto loaded = Tokenizer::load(temporary_file("tokenizer.model", model_bytes));
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const Tokenizer& tokenizer = **loaded;
  std::mt19937 random(41);
  for (int round = 0; round < num_rounds; ++round) {
    const std::string text = random_rough_text(random);
    const std::vector<TokenId> expected = oracle.encode(text);
    ASSERT_EQ(tokenizer.encode(text), expected) << testing::PrintToString(text);
    if (is_ordinary(text, expected, tokenizer)) {
      ASSERT_EQ(tokenizer.encode_plain(text), expected) << testing::PrintToString(text);
    }
    std::vector<TokenId> ids(random() % 12);
    for (TokenId& id : ids) id = random() % (random() % 2 == 0 ? tokenizer.vocab_size() : 270);
    ASSERT_EQ(tokenizer.decode(ids), oracle.decode(ids)) << testing::PrintToString(ids);
  }
}

TEST(SentencePiece, AgreesOnTheNanoModelWithEverySettingOfItsFlags) {
  for (const TokenizerFlags& flags : all_flag_settings()) expect_equal(nano_model_bytes(flags), 5000);
}

TEST(SentencePiece, AgreesOnOverlappingSpecialPieces) {
  expect_equal(
      nano_model_bytes({.add_dummy_prefix = true,
                        .remove_extra_whitespaces = false,
                        .renames = {{"<extra_id_2>", "lo worldThe "}, {"<extra_id_3>", "hello worldT"}},
                        .unused = {}}),
      5000);
}

TEST(SentencePiece, AgreesOnUnusedPieces) {
  expect_equal(nano_model_bytes({.add_dummy_prefix = false,
                                 .remove_extra_whitespaces = false,
                                 .renames = {},
                                 .unused = {"\u2581th", "he", "\u2581wor", "ell", "The"}}),
               5000);
}

struct Setting {
  std::string name;
  std::string options;
};

class TrainedModel : public testing::TestWithParam<Setting> {};

TEST_P(TrainedModel, Agrees) {
  expect_equal(train_bpe(training_sentences(), GetParam().options), 5000);
}

// User-defined symbols of one character, of several, and with a space; vocabularies with and without byte
// pieces.
INSTANTIATE_TEST_SUITE_P(
    Settings, TrainedModel,
    testing::Values(
        Setting{"Defaults", "--vocab_size=400 --user_defined_symbols=<extra_id_0>,<extra_id_1>"},
        Setting{"NfkcWithoutPrefix",
                "--vocab_size=400 --normalization_rule_name=nfkc --add_dummy_prefix=false"},
        Setting{"CaseFolded",
                "--vocab_size=400 --normalization_rule_name=nmt_nfkc_cf --user_defined_symbols=<extra_id_1>"},
        Setting{"LikeLlama",
                "--vocab_size=700 --normalization_rule_name=identity --byte_fallback=true "
                "--remove_extra_whitespaces=false --split_digits=true --user_defined_symbols=<extra_id_1>"},
        Setting{"LikeNemotron",
                "--vocab_size=700 --normalization_rule_name=identity --byte_fallback=true "
                "--add_dummy_prefix=false --remove_extra_whitespaces=false --split_digits=true "
                "--allow_whitespace_only_pieces=true --user_defined_symbols=<extra_id_0>,<extra_id_1>"},
        Setting{"MergesAcrossSpaces", "--vocab_size=700 --split_by_whitespace=false --byte_fallback=true"},
        Setting{"NormalizedBytes",
                "--vocab_size=700 --byte_fallback=true --remove_extra_whitespaces=false "
                "--user_defined_symbols=<extra_id_1>,a,\u65e5,\ufb01,wor,world"}),
    [](const auto& instance) { return instance.param.name; });

}  // namespace
}  // namespace octet::router
