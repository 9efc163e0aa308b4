#include "tools/bench/model/stage_driver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace octet::bench {
namespace {

using testing::HasSubstr;

class StageDriverTest : public testing::Test {
 protected:
  static worker::StageConfig config() {
    worker::StageConfig config;
    config.model_dir = "deploy/nano";
    config.max_batch_tokens = 24;
    return config;
  }
  std::unique_ptr<worker::Stage> stage_ = worker::Stage::load(config()).value();
  StageDriver driver_{*stage_};
};

TEST_F(StageDriverTest, GeneratesWithPromptsThatSpanSteps) {
  // Three prompts of 20 rows in steps of 24 rows: the second and the third are cut.
  const absl::StatusOr<GenerateTimes> times = driver_.generate({3, 20, 5});
  ASSERT_TRUE(times.ok()) << times.status();
  EXPECT_GT(times->prefill_seconds, 0);
  EXPECT_GT(times->decode_seconds, 0);
  EXPECT_TRUE(driver_.generate({1, 1, 1}).ok()) << "a driver serves more than one case";
}

TEST_F(StageDriverTest, LogprobsOfEachRowAddUpToOne) {
  const absl::StatusOr<std::vector<float>> logprobs = driver_.logprobs(4);
  ASSERT_TRUE(logprobs.ok()) << logprobs.status();
  const auto vocab_size = static_cast<size_t>(stage_->shape().model.vocab_size);
  ASSERT_EQ(logprobs->size(), 4 * vocab_size);
  for (size_t row = 0; row < 4; ++row) {
    double sum = 0;
    for (size_t i = 0; i < vocab_size; ++i) sum += std::exp((*logprobs)[row * vocab_size + i]);
    EXPECT_NEAR(sum, 1, 1e-5) << "row " << row;
  }
}

TEST_F(StageDriverTest, RefusesWhatDoesNotFitByName) {
  EXPECT_THAT(driver_.generate({1, 4096, 1}).status().message(), HasSubstr("4097 tokens"));
  EXPECT_THAT(driver_.generate({1000, 4000, 0}).status().message(), HasSubstr("--kv-cache-mib"));
}

TEST(TokenAt, GivesTheTokensOfPeersCasesPy) {
  EXPECT_EQ(token_at(0, 0, 32000), 300u);
  EXPECT_EQ(token_at(3, 5, 32000), 300u + (3 * 7919 + 5 * 104729) % 31700);
}

}  // namespace
}  // namespace octet::bench
