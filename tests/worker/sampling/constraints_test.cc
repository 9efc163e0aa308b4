#include "worker/sampling/constraints.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "base/byte_automaton.h"

namespace octet::worker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// A vocabulary in which 0 ends a sequence and 1 is a piece that is no text.
const std::vector<std::string> kTokens = {"", "", "a", "b", "ab", "ba", " a", "a", "bbb", " "};

TokenTexts texts() {
  TokenTexts result{.in_text = kTokens, .at_text_start = kTokens};
  for (std::string& text : result.at_text_start) {
    if (text.starts_with(' ')) text.erase(0, 1);
  }
  return result;
}

// Rule 0: (a b){0,2} a?; states are added with their edges.
std::string pairs() {
  ByteAutomaton automaton;
  automaton.add_rule(0);
  automaton.add_rule(2);
  automaton.add_state({.accepts = false, .byte_edges = {}, .call_edges = {{1, 0, 2, 1}}, .skips = {}});
  automaton.add_state({.accepts = true, .byte_edges = {{'a', 'a', 4}}, .call_edges = {}, .skips = {}});
  automaton.add_state({.accepts = false, .byte_edges = {{'a', 'a', 3}}, .call_edges = {}, .skips = {}});
  automaton.add_state({.accepts = false, .byte_edges = {{'b', 'b', 4}}, .call_edges = {}, .skips = {}});
  automaton.add_state({.accepts = true, .byte_edges = {}, .call_edges = {}, .skips = {}});
  return automaton.serialise();
}

TokenConstraint constraint(std::string automaton, bool begins_text = false) {
  return {.automaton = std::make_shared<const std::string>(std::move(automaton)),
          .end_tokens = {0},
          .begins_text = begins_text};
}

std::vector<TokenId> tokens_of(const TokenMask* mask) {
  std::vector<TokenId> tokens;
  if (mask == nullptr) return tokens;
  for (TokenId token = 0; token < mask->size() * 32; ++token) {
    if (((*mask)[token / 32] >> token % 32 & 1) != 0) tokens.push_back(token);
  }
  return tokens;
}

TEST(Constraints, AllowTokensThatCanFollowAndTheEndWhereItMatches) {
  Constraints constraints(texts());
  SequenceConstraint sequence = constraints.begin(constraint(pairs()), {});
  EXPECT_THAT(tokens_of(sequence.allowed()), ElementsAre(0, 2, 4, 7));
  sequence.add(2);
  EXPECT_THAT(tokens_of(sequence.allowed()), ElementsAre(0, 3, 5)) << "a is a match, and may become ab";
  sequence.add(5);
  EXPECT_THAT(tokens_of(sequence.allowed()), ElementsAre(0, 3, 5));
  sequence.add(3);
  EXPECT_THAT(tokens_of(sequence.allowed()), ElementsAre(0, 2, 7));
  sequence.add(7);
  EXPECT_THAT(tokens_of(sequence.allowed()), ElementsAre(0)) << "nothing else can follow";
}

TEST(Constraints, ThePlaceFollowsFromTheGeneratedTokens) {
  Constraints constraints(texts());
  SequenceConstraint sequence = constraints.begin(constraint(pairs()), {});
  std::vector<TokenId> generated;
  for (const TokenId token : {4, 2, 3}) {
    sequence.add(token);
    generated.push_back(token);
    Constraints elsewhere(texts());
    SequenceConstraint moved = elsewhere.begin(constraint(pairs()), generated);
    EXPECT_EQ(tokens_of(moved.allowed()), tokens_of(sequence.allowed()));
  }
}

TEST(Constraints, AtTheStartOfATextASpaceIsTakenAway) {
  Constraints constraints(texts());
  SequenceConstraint sequence = constraints.begin(constraint(pairs(), /*begins_text=*/true), {});
  EXPECT_THAT(tokens_of(sequence.allowed()), ElementsAre(0, 2, 4, 6, 7)) << "token 9 would be no text at all";
  sequence.add(6);
  EXPECT_THAT(tokens_of(sequence.allowed()), ElementsAre(0, 3, 5));
  const std::vector<TokenId> generated = {6};
  SequenceConstraint again = constraints.begin(constraint(pairs(), true), generated);
  EXPECT_THAT(tokens_of(again.allowed()), ElementsAre(0, 3, 5));
}

TEST(Constraints, AnEndTokenWithTextIsOnlyAnEnd) {
  Constraints constraints(texts());
  TokenConstraint given = constraint(pairs());
  given.end_tokens = {0, 3};
  SequenceConstraint sequence = constraints.begin(given, std::vector<TokenId>{2});
  EXPECT_THAT(tokens_of(sequence.allowed()), ElementsAre(0, 3, 5));
  sequence.add(5);
  EXPECT_THAT(tokens_of(sequence.allowed()), ElementsAre(0, 3, 5)) << "aba is a match";
}

TEST(Constraints, RefusalsSayWhy) {
  Constraints without("tokenizer.model: not found");
  SequenceConstraint refused = without.begin(constraint(pairs()), {});
  EXPECT_EQ(refused.allowed(), nullptr);
  EXPECT_EQ(refused.why(), "tokenizer.model: not found");

  Constraints constraints(texts());
  SequenceConstraint broken = constraints.begin(constraint("no automaton"), {});
  EXPECT_EQ(broken.allowed(), nullptr);
  EXPECT_THAT(broken.why(), HasSubstr("not one that this version can read"));

  SequenceConstraint contradicted = constraints.begin(constraint(pairs()), std::vector<TokenId>{3});
  EXPECT_EQ(contradicted.allowed(), nullptr);
  EXPECT_EQ(contradicted.why(), "token 1 of the output does not follow it");

  ByteAutomaton stuck;  // x, which no token is
  stuck.add_rule(0);
  stuck.add_state({.accepts = false, .byte_edges = {{'x', 'x', 1}}, .call_edges = {}, .skips = {}});
  stuck.add_state({.accepts = true, .byte_edges = {}, .call_edges = {}, .skips = {}});
  SequenceConstraint nothing = constraints.begin(constraint(stuck.serialise()), {});
  EXPECT_EQ(nothing.allowed(), nullptr);
  EXPECT_EQ(nothing.why(), "no token of the vocabulary can follow after 0 tokens of output");
}

// An automaton of (a | b){0,n}: a place of its own for each length.
std::string letters(uint32_t max) {
  ByteAutomaton automaton;
  automaton.add_rule(0);
  automaton.add_rule(2);
  automaton.add_state({.accepts = false, .byte_edges = {}, .call_edges = {{1, 0, max, 1}}, .skips = {}});
  automaton.add_state({.accepts = true, .byte_edges = {}, .call_edges = {}, .skips = {}});
  automaton.add_state({.accepts = false, .byte_edges = {{'a', 'b', 1}}, .call_edges = {}, .skips = {}});
  return automaton.serialise();
}

TEST(Constraints, WhatIsKeptIsLimitedAndForgettingChangesNothing) {
  constexpr size_t kLimit = 20'000;
  Constraints small(texts(), kLimit);
  Constraints large(texts());
  std::mt19937 random(9);
  std::vector<SequenceConstraint> in_small;
  std::vector<SequenceConstraint> in_large;
  for (uint32_t i = 0; i < 8; ++i) {
    in_small.push_back(small.begin(constraint(letters(900 + i % 3)), {}));
    in_large.push_back(large.begin(constraint(letters(900 + i % 3)), {}));
  }
  for (int step = 0; step < 300; ++step) {
    for (size_t i = 0; i < in_small.size(); ++i) {
      const std::vector<TokenId> allowed = tokens_of(in_small[i].allowed());
      ASSERT_EQ(allowed, tokens_of(in_large[i].allowed()));
      const TokenId token = allowed[1 + random() % (allowed.size() - 1)];
      in_small[i].add(token);
      in_large[i].add(token);
    }
    ASSERT_LT(small.kept_bytes(), 2 * kLimit);
  }
  EXPECT_GT(large.kept_bytes(), 2 * kLimit);
}

TEST(Constraints, AutomatonsThatNobodyUsesAreLimited) {
  Constraints constraints(texts());
  for (uint32_t i = 1; i < 500; ++i) {
    SequenceConstraint sequence = constraints.begin(constraint(letters(i)), {});
    ASSERT_NE(sequence.allowed(), nullptr);
  }
  EXPECT_LT(constraints.kept_bytes(), 200'000U);
}

}  // namespace
}  // namespace octet::worker
