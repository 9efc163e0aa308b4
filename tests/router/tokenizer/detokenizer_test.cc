#include "router/tokenizer/detokenizer.h"

#include <gtest/gtest.h>

#include <random>

#include "base/utf8.h"
#include "tests/router/tokenizer/nano_tokenizer.h"

namespace octet::router {
namespace {

// All that a detokenizer gives out for these tokens; every piece must be whole characters.
std::string stream(Detokenizer detokenizer, const std::vector<TokenId>& tokens) {
  std::string text;
  for (const TokenId token : tokens) {
    const std::string piece = detokenizer.add(token);
    EXPECT_TRUE(is_valid_utf8(piece));
    text += piece;
  }
  const std::string rest = detokenizer.finish();
  EXPECT_TRUE(is_valid_utf8(rest));
  EXPECT_EQ(detokenizer.finish(), "");
  return text + rest;
}

// Random tokens of all kinds; many byte pieces, so that characters form and break.
std::vector<TokenId> random_tokens(const Tokenizer& tokenizer, std::mt19937& random, size_t max_tokens) {
  const TokenId first_byte = tokenizer.piece_id("<0x00>").value();
  const TokenId space = tokenizer.piece_id("\u2581").value();
  constexpr unsigned char kUsefulBytes[] = {0xE2, 0x82, 0xAC, 0xF0, 0x9F, 0x99, 0x82,
                                            0xC3, 0xA9, 0x41, 0xED, 0xA0, 0xFF, 0x20};
  std::vector<TokenId> tokens(random() % (max_tokens + 1));
  for (TokenId& token : tokens) {
    switch (random() % 6) {
      case 0:
        token = random() % tokenizer.vocab_size();
        break;
      case 1:
        token = random() % 12;
        break;  // control, <unk> and special pieces
      case 2:
        token = space;
        break;
      case 3:
        token = first_byte + random() % 256;
        break;
      default:
        token = first_byte + kUsefulBytes[random() % std::size(kUsefulBytes)];
        break;
    }
  }
  return tokens;
}

TEST(Detokenizer, HoldsACharacterBackUntilItIsComplete) {
  const auto tokenizer = nano_tokenizer();
  Detokenizer detokenizer(tokenizer);
  const TokenId zero = tokenizer->piece_id("<0x00>").value();
  EXPECT_EQ(detokenizer.add(zero + 0xE2), "");
  EXPECT_EQ(detokenizer.add(zero + 0x82), "");
  EXPECT_EQ(detokenizer.add(zero + 0xAC), "\u20AC");
  EXPECT_EQ(detokenizer.finish(), "");
}

TEST(Detokenizer, GivesABrokenCharacterOutAsSoonAsItIsBroken) {
  const auto tokenizer = nano_tokenizer();
  Detokenizer detokenizer(tokenizer);
  const TokenId zero = tokenizer->piece_id("<0x00>").value();
  EXPECT_EQ(detokenizer.add(zero + 0xE2), "");
  EXPECT_EQ(detokenizer.add(zero + 'a'), "\uFFFDa");
  EXPECT_EQ(detokenizer.add(zero + 0xF0), "");
  EXPECT_EQ(detokenizer.add(zero + 0x9F), "");
  EXPECT_EQ(detokenizer.add(tokenizer->eos_id()), "\uFFFD\uFFFD");
  EXPECT_EQ(detokenizer.add(zero + 0xC3), "");
  EXPECT_EQ(detokenizer.finish(), "\uFFFD");
}

TEST(Detokenizer, AddsUpToTheOneShotDecode) {
  std::mt19937 random(11);
  for (const TokenizerFlags& flags : all_flag_settings()) {
    const auto tokenizer = nano_tokenizer_with(flags);
    for (int round = 0; round < 5000; ++round) {
      const std::vector<TokenId> tokens = random_tokens(*tokenizer, random, 12);
      ASSERT_EQ(stream(Detokenizer(tokenizer, /*after_prompt=*/false), tokens), tokenizer->decode(tokens))
          << testing::PrintToString(tokens);
    }
  }
}

TEST(Detokenizer, AfterAPromptAddsUpToTheRestOfTheWholeDecode) {
  std::mt19937 random(12);
  for (const TokenizerFlags& flags : all_flag_settings()) {
    const auto tokenizer = nano_tokenizer_with(flags);
    for (int round = 0; round < 5000; ++round) {
      std::vector<TokenId> prompt = random_tokens(*tokenizer, random, 5);
      if (!prompt.empty() && tokenizer->is_byte(prompt.back())) prompt.push_back(tokenizer->eos_id());
      const std::vector<TokenId> output = random_tokens(*tokenizer, random, 8);
      std::vector<TokenId> all = prompt;
      all.insert(all.end(), output.begin(), output.end());
      const std::string before = tokenizer->decode(prompt);
      const std::string whole = tokenizer->decode(all);
      ASSERT_TRUE(whole.starts_with(before));
      ASSERT_EQ(stream(Detokenizer::after(tokenizer, prompt), output), whole.substr(before.size()))
          << testing::PrintToString(prompt) << testing::PrintToString(output);
    }
  }
}

TEST(Detokenizer, KeepsTheLeadingSpaceAfterAPrompt) {
  const auto tokenizer = nano_tokenizer_with(
      {.add_dummy_prefix = true, .remove_extra_whitespaces = false, .renames = {}, .unused = {}});
  const std::vector<TokenId> tokens = tokenizer->encode("hello");  // "▁hello"
  EXPECT_EQ(stream(Detokenizer(tokenizer), tokens), " hello");
  EXPECT_EQ(stream(Detokenizer(tokenizer, /*after_prompt=*/false), tokens), "hello");
}

TEST(Detokenizer, IdsBeyondThePiecesHaveNoText) {
  const auto tokenizer = nano_tokenizer();
  EXPECT_EQ(stream(Detokenizer(tokenizer), {1600, ~0U}), "");
}

}  // namespace
}  // namespace octet::router
