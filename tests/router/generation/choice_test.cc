#include "router/generation/choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "base/utf8.h"

namespace octet::router {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::IsEmpty;
using testing::SizeIs;

std::shared_ptr<const Tokenizer> nano_tokenizer() {
  static const auto tokenizer = Tokenizer::load("deploy/nano/tokenizer.model").value();
  return tokenizer;
}

class ChoiceTest : public testing::Test {
 protected:
  ChoiceTest() { request_.prompt = tokenizer_->encode("User"); }

  std::vector<TokenId> tokens_of(std::string_view text) const {
    return tokenizer_->encode_continuation(text);
  }
  TokenId byte_token(unsigned char byte) const {
    char piece[8];
    std::snprintf(piece, sizeof piece, "<0x%02X>", byte);
    return tokenizer_->piece_id(piece).value();
  }
  TokenId end_of_turn() const { return tokenizer_->piece_id("<extra_id_1>").value(); }
  Choice make() const { return Choice(tokenizer_, request_, 3); }

  // Feeds tokens one by one and collects all pieces, the last one from finish(reason).
  std::vector<Piece> run(Choice& choice, const std::vector<TokenId>& tokens, FinishReason reason) const {
    std::vector<Piece> pieces;
    for (const TokenId token : tokens) {
      if (choice.matched_stop()) break;
      choice.add({.token = token, .logprob = -1, .top = {}});
      Piece piece = choice.take();
      if (!piece.text.empty() || !piece.tokens.empty()) pieces.push_back(std::move(piece));
    }
    pieces.push_back(choice.finish(reason));
    return pieces;
  }

  static std::string text_of(const std::vector<Piece>& pieces) {
    std::string text;
    for (const Piece& piece : pieces) text += piece.text;
    return text;
  }
  static std::vector<TokenId> tokens_in(const std::vector<Piece>& pieces) {
    std::vector<TokenId> tokens;
    for (const Piece& piece : pieces) tokens.insert(tokens.end(), piece.tokens.begin(), piece.tokens.end());
    return tokens;
  }

  const std::shared_ptr<const Tokenizer> tokenizer_ = nano_tokenizer();
  ValidatedRequest request_;
};

TEST_F(ChoiceTest, EveryTokenLeavesAtOnceWithItsText) {
  Choice choice = make();
  const std::vector<TokenId> tokens = tokens_of(" Shall I compare thee");
  ASSERT_GT(tokens.size(), 2U);
  std::string text;
  for (const TokenId token : tokens) {
    choice.add({.token = token, .logprob = 0, .top = {}});
    const Piece piece = choice.take();
    EXPECT_EQ(piece.index, 3U);
    EXPECT_THAT(piece.tokens, ElementsAre(token));
    EXPECT_EQ(piece.text, tokenizer_->bytes(token));
    EXPECT_FALSE(piece.finish);
    text += piece.text;
  }
  EXPECT_EQ(text, " Shall I compare thee");
  const Piece last = choice.finish(FinishReason::kLength);
  EXPECT_THAT(last.tokens, IsEmpty());
  EXPECT_EQ(last.text, "");
  EXPECT_EQ(last.finish, FinishReason::kLength);
  EXPECT_EQ(last.stop_reason, "");
  EXPECT_EQ(choice.num_tokens(), tokens.size());
}

TEST_F(ChoiceTest, TokensOfAnIncompleteCharacterWaitForIt) {
  Choice choice = make();
  std::vector<TokenId> tokens;
  for (const unsigned char byte : std::string("\xF0\x9F\x8C\xB9")) tokens.push_back(byte_token(byte));
  for (size_t i = 0; i < 3; ++i) {
    choice.add({.token = tokens[i], .logprob = 0, .top = {}});
    const Piece piece = choice.take();
    EXPECT_EQ(piece.text, "");
    EXPECT_THAT(piece.tokens, IsEmpty());
  }
  choice.add({.token = tokens[3], .logprob = 0, .top = {}});
  const Piece piece = choice.take();
  EXPECT_EQ(piece.text, "\xF0\x9F\x8C\xB9");
  EXPECT_THAT(piece.tokens, ElementsAreArray(tokens));
}

TEST_F(ChoiceTest, CharacterCutOffByTheEndIsReplaced) {
  Choice choice = make();
  const auto pieces = run(choice, {byte_token(0xF0), byte_token(0x9F)}, FinishReason::kLength);
  EXPECT_TRUE(is_valid_utf8(text_of(pieces)));
  EXPECT_THAT(text_of(pieces), testing::HasSubstr(std::string(kReplacementCharacter)));
  EXPECT_THAT(tokens_in(pieces), ElementsAre(byte_token(0xF0), byte_token(0x9F)));
}

TEST_F(ChoiceTest, StopStringAcrossTokensIsNotLeaked) {
  request_.stop = {"mpare th"};
  const std::vector<TokenId> tokens = tokens_of(" Shall I compare thee to a");
  Choice choice = make();
  const auto pieces = run(choice, tokens, FinishReason::kLength);
  EXPECT_EQ(text_of(pieces), " Shall I co");
  EXPECT_EQ(pieces.back().finish, FinishReason::kStop);
  EXPECT_EQ(pieces.back().stop_reason, "mpare th");
  EXPECT_TRUE(choice.matched_stop());
  // Every token up to the one that completed the stop string was generated, and is there.
  const std::vector<TokenId> generated = tokens_in(pieces);
  EXPECT_EQ(generated.size(), choice.num_tokens());
  EXPECT_TRUE(std::equal(generated.begin(), generated.end(), tokens.begin()));
  EXPECT_THAT(tokenizer_->decode(generated), testing::HasSubstr("mpare th"));
}

TEST_F(ChoiceTest, StopStringIsKeptWhenAskedFor) {
  request_.stop = {"mpare th"};
  request_.include_stop = true;
  Choice choice = make();
  const auto pieces = run(choice, tokens_of(" Shall I compare thee to a"), FinishReason::kLength);
  EXPECT_EQ(text_of(pieces), " Shall I compare th");
  EXPECT_EQ(tokens_in(pieces).size(), choice.num_tokens());
  EXPECT_EQ(pieces.back().stop_reason, "mpare th");
}

TEST_F(ChoiceTest, TextThatOnlyBeginsLikeAStopStringComesOutLater) {
  request_.stop = {" compass"};
  Choice choice = make();
  const auto pieces = run(choice, tokens_of(" I compare"), FinishReason::kLength);
  EXPECT_EQ(text_of(pieces), " I compare");
  EXPECT_THAT(tokens_in(pieces), ElementsAreArray(tokens_of(" I compare")));
  EXPECT_EQ(pieces.back().finish, FinishReason::kLength);
}

TEST_F(ChoiceTest, TokensAfterAStopStringAreIgnored) {
  request_.stop = {"thee"};
  Choice choice = make();
  for (const TokenId token : tokens_of(" thee")) choice.add({.token = token, .logprob = 0, .top = {}});
  ASSERT_TRUE(choice.matched_stop());
  const uint32_t num_tokens = choice.num_tokens();
  for (const TokenId token : tokens_of(" and more")) choice.add({.token = token, .logprob = 0, .top = {}});
  choice.add_stop_token({.token = end_of_turn(), .logprob = 0, .top = {}});
  EXPECT_EQ(choice.num_tokens(), num_tokens);
  const Piece last = choice.finish(FinishReason::kLength);
  EXPECT_EQ(last.text, " ");
  EXPECT_EQ(last.stop_reason, "thee");
}

TEST_F(ChoiceTest, StopTokenIsThereWithoutItsText) {
  Choice choice = make();
  choice.add({.token = tokens_of(" day")[0], .logprob = 0, .top = {}});
  choice.take();
  choice.add_stop_token({.token = end_of_turn(), .logprob = 0, .top = {}});
  const Piece last = choice.finish(FinishReason::kStop);
  EXPECT_EQ(last.text, "");
  EXPECT_THAT(last.tokens, ElementsAre(end_of_turn()));
  EXPECT_EQ(last.finish, FinishReason::kStop);
  EXPECT_EQ(last.stop_reason, "<extra_id_1>");
  EXPECT_EQ(choice.num_tokens(), 2U);
}

TEST_F(ChoiceTest, StopTokenIsShownWhenAskedFor) {
  request_.include_stop = true;
  Choice choice = make();
  choice.add_stop_token({.token = end_of_turn(), .logprob = 0, .top = {}});
  const Piece last = choice.finish(FinishReason::kStop);
  EXPECT_EQ(last.text, "<extra_id_1>");
  EXPECT_THAT(last.tokens, ElementsAre(end_of_turn()));
  EXPECT_EQ(last.stop_reason, "<extra_id_1>");
}

TEST_F(ChoiceTest, EndOfSequenceHasNoTextButAName) {
  request_.include_stop = true;
  Choice choice = make();
  choice.add_stop_token({.token = tokenizer_->eos_id(), .logprob = 0, .top = {}});
  const Piece last = choice.finish(FinishReason::kStop);
  EXPECT_EQ(last.text, "");
  EXPECT_THAT(last.tokens, ElementsAre(tokenizer_->eos_id()));
  EXPECT_EQ(last.stop_reason, "</s>");
}

TEST_F(ChoiceTest, LogprobsGoWithTheirTokens) {
  request_.logprobs = 1;
  request_.stop = {"zzz"};
  Choice choice = make();
  const std::vector<TokenId> tokens = tokens_of(" Shall I");
  std::vector<Piece> pieces;
  for (size_t i = 0; i < tokens.size(); ++i) {
    choice.add({.token = tokens[i], .logprob = -static_cast<float>(i), .top = {{tokens[i], -0.5F}}});
    pieces.push_back(choice.take());
  }
  pieces.push_back(choice.finish(FinishReason::kLength));
  size_t seen = 0;
  for (const Piece& piece : pieces) {
    ASSERT_THAT(piece.logprobs, SizeIs(piece.tokens.size()));
    for (size_t i = 0; i < piece.tokens.size(); ++i, ++seen) {
      EXPECT_EQ(piece.logprobs[i].token, piece.tokens[i]);
      EXPECT_EQ(piece.logprobs[i].logprob, -static_cast<float>(seen));
      EXPECT_THAT(piece.logprobs[i].top, SizeIs(1));
    }
  }
  EXPECT_EQ(seen, tokens.size());
}

TEST_F(ChoiceTest, IdsOfAPaddedVocabularyHaveNoText) {
  Choice choice = make();
  choice.add({.token = 4'000'000'000U, .logprob = 0, .top = {}});
  const Piece piece = choice.take();
  EXPECT_EQ(piece.text, "");
  EXPECT_THAT(piece.tokens, ElementsAre(4'000'000'000U));
}

// Any tokens, any stop string: no piece breaks a character, text is that of the tokens up to the first match,
// and tokens spell the text.
TEST_F(ChoiceTest, RandomTokensAndStops) {
  std::mt19937 random(7);
  for (int round = 0; round < 3000; ++round) {
    std::vector<TokenId> tokens(1 + random() % 12);
    for (TokenId& token : tokens) token = random() % tokenizer_->vocab_size();
    Detokenizer detokenizer(tokenizer_);
    std::string whole;
    for (const TokenId token : tokens) whole += detokenizer.add(token);
    whole += detokenizer.finish();

    request_.stop.clear();
    request_.include_stop = random() % 2 == 0;
    std::string stop;
    if (!whole.empty() && random() % 4 != 0) {
      size_t begin = random() % whole.size();
      size_t end = begin + 1 + random() % 6;
      while (begin > 0 && (whole[begin] & 0xC0) == 0x80) --begin;
      while (end < whole.size() && (whole[end] & 0xC0) == 0x80) ++end;
      stop = whole.substr(begin, end - begin);
      request_.stop = {stop};
    }
    std::string expected = whole;
    if (!stop.empty()) expected.resize(whole.find(stop) + (request_.include_stop ? stop.size() : 0));

    Choice choice = make();
    const auto pieces = run(choice, tokens, FinishReason::kLength);
    ASSERT_EQ(text_of(pieces), expected) << "round " << round << " stop " << stop;
    ASSERT_EQ(choice.matched_stop(), !stop.empty());
    for (const Piece& piece : pieces) ASSERT_TRUE(is_valid_utf8(piece.text)) << round;
    const std::vector<TokenId> shown = tokens_in(pieces);
    ASSERT_TRUE(std::equal(shown.begin(), shown.end(), tokens.begin())) << round;
    ASSERT_EQ(shown.size(), choice.num_tokens()) << round;
    if (stop.empty()) {
      ASSERT_EQ(shown.size(), tokens.size()) << round;
    }
    std::string spelled;
    for (size_t i = 0; i + 1 < pieces.size(); ++i) {
      Detokenizer piece_detokenizer(tokenizer_);
      for (const TokenId token : pieces[i].tokens) spelled += piece_detokenizer.add(token);
      spelled += piece_detokenizer.finish();
      ASSERT_TRUE(expected.starts_with(spelled)) << round;
    }
  }
}

}  // namespace
}  // namespace octet::router
