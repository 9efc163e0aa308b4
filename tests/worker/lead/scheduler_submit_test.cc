// What the scheduler refuses, and with which words.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "worker/lead/scheduler.h"

namespace octet::worker {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

SchedulerConfig small_config() {
  SchedulerConfig config;
  config.num_blocks = 4;
  config.block_size = 4;
  config.max_batch_tokens = 8;
  config.max_waiting_sequences = 2;
  config.max_model_len = 20;
  config.vocab_size = 100;
  return config;
}

NewSequence valid() {
  NewSequence sequence;
  sequence.id = 1;
  sequence.prompt = {1, 2, 3};
  sequence.max_tokens = 5;
  return sequence;
}

// The words with which a sequence is refused as invalid; empty when it is taken.
std::string refusal_of(const NewSequence& sequence, const SchedulerConfig& config = small_config()) {
  Scheduler scheduler(config);
  const std::optional<Refusal> refusal = scheduler.submit(sequence);
  EXPECT_EQ(scheduler.stats().waiting, refusal.has_value() ? 0 : 1);
  if (!refusal.has_value()) return "";
  EXPECT_EQ(refusal->kind, Refusal::Kind::kInvalid);
  return refusal->message;
}

TEST(SchedulerSubmit, TakesAValidSequence) {
  EXPECT_EQ(refusal_of(valid()), "");
}

TEST(SchedulerSubmit, RefusesAnEmptyPrompt) {
  NewSequence sequence = valid();
  sequence.prompt.clear();
  EXPECT_EQ(refusal_of(sequence), "prompt_tokens: at least 1 token is needed, 0 given");
}

TEST(SchedulerSubmit, RefusesTokensOutsideTheVocabulary) {
  NewSequence sequence = valid();
  sequence.prompt[2] = 100;
  EXPECT_EQ(refusal_of(sequence), "prompt_tokens: token id 100 at index 2 is outside the vocabulary of 100");
  sequence = valid();
  sequence.generated = {99, 4294967295};
  EXPECT_EQ(refusal_of(sequence),
            "generated_tokens: token id 4294967295 at index 1 is outside the vocabulary of 100");
  sequence = valid();
  sequence.stop_token_ids = {7, 100};
  EXPECT_EQ(refusal_of(sequence), "stop_token_ids: token id 100 at index 1 is outside the vocabulary of 100");
}

TEST(SchedulerSubmit, RefusesPromptLongerThanContext) {
  NewSequence sequence = valid();
  sequence.prompt.assign(19, 1);
  sequence.max_tokens = 1;
  SchedulerConfig config = small_config();
  config.num_blocks = 5;
  EXPECT_EQ(refusal_of(sequence, config), "");
  sequence.generated = {1};
  sequence.max_tokens = 2;
  EXPECT_EQ(refusal_of(sequence, config),
            "prompt_tokens: 19 prompt tokens and 1 generated ones leave no room in the context of 20 tokens");
}

TEST(SchedulerSubmit, RefusesMaxTokensThatAreGeneratedAlready) {
  NewSequence sequence = valid();
  sequence.max_tokens = 0;
  EXPECT_EQ(refusal_of(sequence), "max_tokens: at least 1 is needed, 0 given");
  sequence.max_tokens = 2;
  sequence.generated = {5, 6};
  EXPECT_EQ(refusal_of(sequence), "max_tokens: 2 given, and 2 tokens are generated already");
}

TEST(SchedulerSubmit, RefusesWhatTheWholeCacheCannotHold) {
  NewSequence sequence = valid();
  sequence.max_tokens = 13;  // 16 tokens, 4 blocks
  EXPECT_EQ(refusal_of(sequence), "");
  sequence.max_tokens = 14;
  EXPECT_EQ(
      refusal_of(sequence),
      "max_tokens: 3 prompt tokens with max_tokens 14 need 5 blocks of 4 tokens, and the KV cache has 4");
  // The context ends it before max_tokens does.
  SchedulerConfig config = small_config();
  config.max_model_len = 16;
  sequence.max_tokens = 4294967295;
  EXPECT_EQ(refusal_of(sequence, config), "");
}

TEST(SchedulerSubmit, RefusesAFullWaitingQueueAsOverload) {
  Scheduler scheduler(small_config());
  NewSequence sequence = valid();
  EXPECT_FALSE(scheduler.submit(sequence).has_value());
  sequence.id = 2;
  EXPECT_FALSE(scheduler.submit(sequence).has_value());
  sequence.id = 3;
  const std::optional<Refusal> refusal = scheduler.submit(sequence);
  ASSERT_TRUE(refusal.has_value());
  EXPECT_EQ(refusal->kind, Refusal::Kind::kOverloaded);
  EXPECT_EQ(refusal->message, "2 sequences are waiting, and the limit is 2");
  scheduler.cancel(1);
  EXPECT_FALSE(scheduler.submit(sequence).has_value());
}

TEST(SchedulerSubmit, RefusesEverySamplingFieldOutOfRangeByName) {
  struct Case {
    std::string field;
    float SamplingParams::*member;
    std::vector<float> good;
    std::vector<float> bad;
  };
  const std::vector<Case> cases = {
      {"temperature", &SamplingParams::temperature, {0, 1e-6F, 2, 1e6F}, {-1, kNaN, kInfinity}},
      {"top_p", &SamplingParams::top_p, {1e-6F, 1}, {0, -1, 1.5F, kNaN}},
      {"min_p", &SamplingParams::min_p, {0, 1}, {-0.1F, 1.1F, kNaN}},
      {"repetition_penalty", &SamplingParams::repetition_penalty, {0.5F, 2}, {0, -1, kNaN, kInfinity}},
      {"presence_penalty", &SamplingParams::presence_penalty, {-2, 2}, {kNaN, kInfinity, -kInfinity}},
      {"frequency_penalty", &SamplingParams::frequency_penalty, {-2, 2}, {kNaN, kInfinity, -kInfinity}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.field);
    for (const float value : c.good) {
      NewSequence sequence = valid();
      sequence.sampling.*c.member = value;
      EXPECT_EQ(refusal_of(sequence), "");
    }
    for (const float value : c.bad) {
      NewSequence sequence = valid();
      sequence.sampling.*c.member = value;
      EXPECT_THAT(refusal_of(sequence),
                  AllOf(HasSubstr("sampling." + c.field + ": must be between "), HasSubstr(", given ")));
    }
  }
}

TEST(SchedulerSubmit, RefusesSamplingThatPointsOutsideTheVocabulary) {
  NewSequence sequence = valid();
  sequence.sampling.logit_bias = {{99, -kInfinity}, {100, 1}};
  EXPECT_THAT(refusal_of(sequence), HasSubstr("sampling.logit_bias: token id 100"));
  sequence.sampling.logit_bias = {{99, kInfinity}};
  EXPECT_THAT(refusal_of(sequence), HasSubstr("sampling.logit_bias: the bias of token 99 must be a number"));
  sequence.sampling.logit_bias = {{99, kNaN}};
  EXPECT_THAT(refusal_of(sequence), HasSubstr("sampling.logit_bias: the bias of token 99 must be a number"));
  sequence = valid();
  sequence.sampling.bad_words = {{1, 2}, {}};
  EXPECT_EQ(refusal_of(sequence), "sampling.bad_words: a bad word needs at least 1 token, 0 given");
  sequence.sampling.bad_words = {{1, 2}, {100}};
  EXPECT_THAT(refusal_of(sequence), HasSubstr("sampling.bad_words: token id 100"));
  sequence = valid();
  sequence.sampling.suppressed_before_min_tokens = {100};
  EXPECT_THAT(refusal_of(sequence), HasSubstr("sampling.suppressed_before_min_tokens: token id 100"));
  sequence = valid();
  sequence.sampling.logprobs = 101;
  EXPECT_EQ(refusal_of(sequence), "sampling.logprobs: at most the vocabulary's 100 alternatives, given 101");
  sequence = valid();
  sequence.sampling.prompt_logprobs = 101;
  EXPECT_EQ(refusal_of(sequence),
            "sampling.prompt_logprobs: at most the vocabulary's 100 alternatives, given 101");
}

}  // namespace
}  // namespace octet::worker
