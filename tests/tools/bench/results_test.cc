#include "tools/bench/results.h"

#include <gtest/gtest.h>

namespace octet::bench {
namespace {

using std::chrono::milliseconds;

const Time kStart = Time() + std::chrono::hours(1);

Answer answer_at(const std::string& text, const std::vector<Arrival>& arrivals, uint32_t num_tokens,
                 Time end) {
  Answer answer;
  answer.text = text;
  answer.arrivals = arrivals;
  answer.num_tokens = num_tokens;
  answer.end = end;
  return answer;
}

Prompt expecting(const std::string& text) {
  Prompt prompt;
  prompt.line = 7;
  prompt.expected = text;
  return prompt;
}

TEST(Samples, QuantileIsTheNearestRank) {
  Samples samples;
  EXPECT_FALSE(samples.quantile(0.5).has_value());
  for (const int value : {4, 1, 3, 2}) samples.add(std::chrono::seconds(value));
  EXPECT_EQ(samples.quantile(0.5), 2);
  EXPECT_EQ(samples.quantile(0.51), 3);
  EXPECT_EQ(samples.quantile(0.99), 4);
  EXPECT_EQ(samples.quantile(0), 1);
  samples.add(std::chrono::seconds(0));  // after sorting
  EXPECT_EQ(samples.quantile(0), 0);
}

TEST(Results, MeasuresAsDefined) {
  Results results;
  // Planned at 0; tokens at 100 (1), 140 (1), 200 ms (3 at once); the stream ends at 300 ms.
  results.add(
      {}, kStart,
      answer_at(
          "",
          {{kStart + milliseconds(100), 1}, {kStart + milliseconds(140), 1}, {kStart + milliseconds(200), 3}},
          5, kStart + milliseconds(300)));
  EXPECT_FLOAT_EQ(*results.time_to_first_token.quantile(1), 0.1F);
  EXPECT_EQ(results.inter_token_latency.count(), 2u);
  EXPECT_FLOAT_EQ(*results.inter_token_latency.quantile(0), 0.02F);  // (200 - 140) / 3
  EXPECT_FLOAT_EQ(*results.inter_token_latency.quantile(1), 0.04F);
  EXPECT_FLOAT_EQ(*results.time_per_output_token.quantile(1), 0.05F);  // (300 - 100) / 4
  EXPECT_FLOAT_EQ(*results.end_to_end.quantile(1), 0.3F);
  EXPECT_EQ(results.num_tokens, 5u);
}

TEST(Results, GiveNoTimePerOutputTokenForASingleToken) {
  Results results;
  results.add({}, kStart, answer_at("", {{kStart, 1}}, 1, kStart + milliseconds(5)));
  EXPECT_EQ(results.time_per_output_token.count(), 0u);
  EXPECT_EQ(results.time_to_first_token.count(), 1u);
}

TEST(Results, CompareAnswersByteForByte) {
  Results results;
  results.add(expecting("Hi!\n"), kStart, answer_at("Hi!\n", {}, 2, kStart));
  results.add(expecting("Hi!\n"), kStart, answer_at("Hi!", {}, 2, kStart));
  results.add({}, kStart, answer_at("anything", {}, 2, kStart));
  EXPECT_EQ(results.num_requests, 3u);
  EXPECT_EQ(results.num_verified, 2u);
  EXPECT_EQ(results.num_wrong, 1u);
  ASSERT_EQ(results.wrong_answers.size(), 1u);
  EXPECT_EQ(results.wrong_answers[0].line, 7u);
  EXPECT_EQ(results.wrong_answers[0].got, "Hi!");
  EXPECT_EQ(results.num_failed, 0u);
}

TEST(Results, CountFailuresByKindAndKeepThemOutOfTheLatencies) {
  Results results;
  Answer answer;
  answer.end = kStart;
  for (const char* kind : {"timeout", "http 429", "timeout"}) {
    answer.failure = Failure{kind, std::string("detail of ") + kind};
    results.add(expecting("x"), kStart, answer);
  }
  EXPECT_EQ(results.num_failed, 3u);
  EXPECT_EQ(results.failures.at("timeout").count, 2u);
  EXPECT_EQ(results.failures.at("http 429").first_detail, "detail of http 429");
  EXPECT_EQ(results.num_verified, 0u);
  EXPECT_EQ(results.end_to_end.count(), 0u);
  EXPECT_EQ(results.time_to_refusal.count(), 1u);
}

TEST(Results, LastFromTheFirstArrivalToTheLastAnswer) {
  Results results;
  EXPECT_EQ(results.duration(), Duration::zero());
  results.add({}, kStart + milliseconds(5), answer_at("", {}, 1, kStart + milliseconds(9)));
  results.add({}, kStart, answer_at("", {}, 1, kStart + milliseconds(8)));
  EXPECT_EQ(results.duration(), milliseconds(9));
}

}  // namespace
}  // namespace octet::bench
