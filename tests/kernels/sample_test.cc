#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "tests/kernels/op_test.h"
#include "tests/kernels/oracle.h"

namespace octet::kernels {
namespace {

using ::testing::ElementsAre;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kMax = std::numeric_limits<float>::max();

// A SampleRow with what it views.
struct RandomRow {
  SampleRow row;
  std::vector<LogitEdit> edits;
  std::vector<uint32_t> allowed;

  SampleRow view() const {
    SampleRow viewing = row;
    viewing.edits = edits;
    viewing.allowed = allowed;
    return viewing;
  }
};

class SampleTest : public BackendTest {
 protected:
  uint32_t below(int64_t end) {
    return static_cast<uint32_t>(random().integer(0, static_cast<int32_t>(end) - 1));
  }
  bool often() { return below(2) == 0; }

  // Half of the rows have many ties, and zeros of both signs.
  std::vector<float> logits(int64_t vocab_size) {
    std::vector<float> values = random().vector(vocab_size, -6, 6);
    if (often()) {
      for (float& value : values) value = std::trunc(value);
    }
    return values;
  }

  RandomRow random_row(int64_t vocab_size) {
    RandomRow made;
    SampleRow& row = made.row;
    row.temperature = below(4) == 0 ? 0 : random().uniform(0.2f, 3);
    if (often()) row.top_k = 1 + below(vocab_size + 2);
    if (often()) row.top_p = random().uniform(0.05f, 1);
    if (often()) row.min_p = random().uniform(0, 0.5f);
    row.repetition_penalty = random().uniform(0.5f, 2);
    row.always_divides = often();
    row.presence_penalty = random().uniform(-2, 2);
    row.frequency_penalty = random().uniform(-2, 2);
    for (uint32_t token = below(3); token < vocab_size && often(); token += 1 + below(vocab_size)) {
      made.edits.push_back({.token = token,
                            .bias = below(4) == 0 ? -kInfinity : random().uniform(-3, 3),
                            .penalized = often(),
                            .num_generated = below(3)});
      if (!made.edits.back().penalized) made.edits.back().num_generated = 0;
    }
    if (often()) {
      for (int64_t word = 0; word < (vocab_size + 31) / 32; ++word) {
        made.allowed.push_back(below(1 << 30) ^ below(1 << 30) << 3);
      }
    }
    row.seed = uint64_t{below(1 << 30)} << 33 | below(1 << 30);
    row.choice_index = below(4);
    row.position = below(5000);
    return made;
  }

  std::vector<SampledToken> sample(std::vector<float>& values, const std::vector<SampleRow>& rows) {
    const auto num_rows = static_cast<int64_t>(rows.size());
    std::vector<SampledToken> results(rows.size());
    for (SampledToken& result : results) result.token = 1u << 31;  // what the op has to overwrite
    backend().sample(matrix(values, num_rows, std::ssize(values) / num_rows), rows, results);
    return results;
  }
  SampledToken sample(std::vector<float> values, const SampleRow& row) {
    return sample(values, std::vector{row}).front();
  }
};

TEST_P(SampleTest, DoesNothingWithoutRows) {
  std::vector<float> none;
  backend().sample(matrix(none, 0, 7), {}, {});
}

TEST_P(SampleTest, ChoosesTheOraclesTokensAndLeavesTheLogitsAsTheyWere) {
  for (const int64_t vocab_size : {1, 2, 31, 32, 33, 100, 1600, 5003}) {
    const int64_t num_rows = emulated() ? 12 : 30;
    std::vector<float> values;
    std::vector<RandomRow> made;
    std::vector<SampleRow> rows;
    for (int64_t t = 0; t < num_rows; ++t) {
      const std::vector<float> row = logits(vocab_size);
      values.insert(values.end(), row.begin(), row.end());
      made.push_back(random_row(vocab_size));
    }
    for (const RandomRow& row : made) rows.push_back(row.view());
    const std::vector<float> before = values;
    const std::vector<SampledToken> results = sample(values, rows);
    EXPECT_TRUE(same_bits(values, before));
    for (int64_t t = 0; t < num_rows; ++t) {
      const std::vector<float> row = rows_of(values, vocab_size, t, 1);
      const SampledToken& result = results[static_cast<size_t>(t)];
      ASSERT_TRUE(result.is_finite);
      ASSERT_EQ(result.token, oracle::choose(row, rows[static_cast<size_t>(t)]))
          << "row " << t << " of " << vocab_size << " tokens";
      ASSERT_EQ(result.logprob, 0);
      ASSERT_TRUE(result.top_tokens.empty());
    }
  }
}

TEST_P(SampleTest, ChoosesFromALargeVocabulary) {
  const int64_t vocab_size = emulated() ? 20011 : 60000;
  std::vector<float> values = random().vector(vocab_size, -12, 0);
  for (int i = 0; i < 40; ++i) values[below(vocab_size)] = random().uniform(0, 4);
  for (const auto& [top_k, top_p, min_p] : std::vector<std::tuple<uint32_t, float, float>>{
           {0, 1, 0}, {50, 1, 0}, {0, 0.9f, 0}, {5000, 0.999f, 1e-3f}}) {
    SampleRow row;
    row.top_k = top_k;
    row.top_p = top_p;
    row.min_p = min_p;
    row.seed = below(1000);
    EXPECT_EQ(sample(values, row).token, oracle::choose(values, row)) << top_k << ", " << top_p;
  }
}

TEST_P(SampleTest, LogprobsAreTheLogSoftmaxOfTheRawLogits) {
  for (const int64_t vocab_size : {1, 5, 33, 1600}) {
    std::vector<float> values = logits(vocab_size);
    const std::vector<double> expected = oracle::logprobs(values);
    const std::vector<uint32_t> ranking = oracle::ranking(expected);
    const std::vector<LogitEdit> edits = {{.token = 0, .bias = 50}};
    for (const uint32_t num_top : {0u, 1u, 5u, kMaxTopTokens}) {
      SampleRow chosen;
      chosen.temperature = 0;
      chosen.edits = edits;
      chosen.num_top = num_top;
      SampleRow scored;
      scored.scored_token = below(vocab_size);
      scored.num_top = num_top;
      for (const SampleRow& row : {chosen, scored}) {
        const SampledToken result = sample(values, row);
        EXPECT_EQ(result.token, row.scored_token.value_or(0));
        EXPECT_NEAR(result.logprob, expected[result.token], 1e-6);
        ASSERT_EQ(result.top_tokens.size(), std::min<size_t>(num_top, ranking.size()));
        ASSERT_EQ(result.top_logprobs.size(), result.top_tokens.size());
        for (size_t i = 0; i < result.top_tokens.size(); ++i) {
          EXPECT_EQ(result.top_tokens[i], ranking[i]);
          EXPECT_NEAR(result.top_logprobs[i], expected[ranking[i]], 1e-6);
        }
      }
    }
  }
}

TEST_P(SampleTest, ScoresHoldAtTheEndsOfTheRange) {
  SampleRow row;
  row.scored_token = 0;
  row.num_top = 0;
  EXPECT_EQ(sample({kMax, -kMax, 0}, row).logprob, 0);
  row.scored_token = 1;
  EXPECT_NEAR(sample({kMax, kMax, -kMax}, row).logprob, std::log(0.5), 1e-6);
}

TEST_P(SampleTest, TellsWhichRowsAreNotFinite) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), kInfinity, -kInfinity}) {
    std::vector<float> values = random().vector(4 * 70);
    values[70 + below(70)] = bad;
    std::vector<SampleRow> rows(4);
    rows[2].scored_token = 3;
    const std::vector<SampledToken> results = sample(values, rows);
    EXPECT_TRUE(results[0].is_finite);
    EXPECT_FALSE(results[1].is_finite);
    EXPECT_TRUE(results[2].is_finite);
    EXPECT_TRUE(results[3].is_finite);
    EXPECT_EQ(results[2].token, 3u);
  }
}

TEST_P(SampleTest, TakesTheLargestRawLogitOfTheAllowedWhereAllAreBanned) {
  const std::vector<LogitEdit> bans = {
      {.token = 0, .bias = -kInfinity}, {.token = 1, .bias = -kInfinity}, {.token = 2, .bias = -kInfinity}};
  SampleRow row;
  row.edits = bans;
  EXPECT_EQ(sample({1, 3, 2}, row).token, 1u);
  const std::vector<uint32_t> without_one = {5};
  row.allowed = without_one;
  EXPECT_EQ(sample({1, 3, 2}, row).token, 2u);
  const std::vector<uint32_t> none = {0};
  row.allowed = none;
  EXPECT_EQ(sample({1, 3, 2}, row).token, 1u);
  row.edits = {};
  EXPECT_EQ(sample({1, 3, 2}, row).token, 1u);
}

TEST_P(SampleTest, NeverDrawsATokenThatIsNotAllowed) {
  const std::vector<uint32_t> allowed = {0x00000100, 0x2};  // 8 and 33
  std::vector<float> values(40, 5);
  values[8] = -5;
  std::vector<SampleRow> rows(emulated() ? 20 : 200);
  std::vector<float> all;
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].allowed = allowed;
    rows[i].position = static_cast<uint32_t>(i);
    rows[i].temperature = i % 2 == 0 ? 50 : 1;
    all.insert(all.end(), values.begin(), values.end());
  }
  for (const SampledToken& result : sample(all, rows)) EXPECT_TRUE(result.token == 8 || result.token == 33);
}

TEST_P(SampleTest, BreaksTiesByTheLowestId) {
  const std::vector<float> values = {1, 3, -0.0f, 3, 0.0f, 3};
  SampleRow row;
  row.num_top = 6;
  row.temperature = 0;
  const SampledToken greedy = sample(values, row);
  EXPECT_EQ(greedy.token, 1u);
  EXPECT_THAT(greedy.top_tokens, ElementsAre(1, 3, 5, 0, 2, 4));
  row.temperature = 1;
  for (uint32_t seed = 0; seed < 20; ++seed) {
    row.seed = seed;
    row.top_k = 1;
    EXPECT_EQ(sample(values, row).token, 1u);
    row.top_k = 2;
    const uint32_t token = sample(values, row).token;
    EXPECT_TRUE(token == 1 || token == 3) << token;
  }
}

TEST_P(SampleTest, SurvivesParametersAtTheEndsOfTheirRanges) {
  const std::vector<LogitEdit> edits = {{.token = 0, .bias = kMax, .penalized = true, .num_generated = 2},
                                        {.token = 1, .bias = -kMax, .penalized = true, .num_generated = 2},
                                        {.token = 2, .penalized = true}};
  SampleRow row;
  row.edits = edits;
  row.presence_penalty = row.frequency_penalty = -kMax;
  row.repetition_penalty = kMax;
  row.temperature = std::numeric_limits<float>::denorm_min();
  EXPECT_EQ(sample({kMax, -kMax, kMax}, row).token, 0u);
  row.edits = {};
  row.top_p = std::numeric_limits<float>::min();
  row.temperature = kMax;
  EXPECT_EQ(sample({1, 3, 3, 2}, row).token, 1u);
  row.top_p = 1;
  row.min_p = 1;
  row.temperature = 1;
  EXPECT_EQ(sample({1, 2, 3, 2}, row).token, 2u);
  row.top_k = UINT32_MAX;
  row.min_p = 0;
  EXPECT_EQ(sample({-2}, row).token, 0u);
}

TEST_P(SampleTest, GivesARowTheSameBitsAloneAndInABatch) {
  constexpr int64_t kRows = 9;
  constexpr int64_t kVocab = 715;
  std::vector<float> values = random().vector(kRows * kVocab, -4, 4);
  std::vector<RandomRow> made;
  std::vector<SampleRow> rows;
  for (int64_t t = 0; t < kRows; ++t) {
    made.push_back(random_row(kVocab));
    made.back().row.num_top = 3;
  }
  for (const RandomRow& row : made) rows.push_back(row.view());
  const std::vector<SampledToken> together = sample(values, rows);
  for (size_t t = 0; t < rows.size(); ++t) {
    const SampledToken alone = sample(rows_of(values, kVocab, static_cast<int64_t>(t), 1), rows[t]);
    EXPECT_EQ(alone.token, together[t].token) << "row " << t;
    EXPECT_TRUE(same_bits({alone.logprob}, {together[t].logprob})) << "row " << t;
    EXPECT_TRUE(same_bits(alone.top_logprobs, together[t].top_logprobs)) << "row " << t;
  }
}

INSTANTIATE_TEST_SUITE_P(All, SampleTest, ::testing::ValuesIn(backend_cases()), backend_name);

}  // namespace
}  // namespace octet::kernels
