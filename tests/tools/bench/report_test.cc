#include "tools/bench/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <cmath>

namespace octet::bench {
namespace {

using testing::HasSubstr;
using testing::Not;

const Time kStart = Time() + std::chrono::hours(1);

class ReportTest : public testing::Test {
 protected:
  void add(const std::string& text, std::optional<uint32_t> num_tokens = 4) {
    Answer answer;
    answer.text = text;
    answer.arrivals = {{kStart + std::chrono::milliseconds(10), 1},
                       {kStart + std::chrono::milliseconds(12), 1}};
    answer.num_tokens = num_tokens;
    answer.end = kStart + std::chrono::milliseconds(2000);
    Prompt prompt;
    prompt.line = 5;
    prompt.expected = "right";
    results_.add(prompt, kStart, answer);
  }
  Results results_;
};

TEST_F(ReportTest, TableShowsTheFigures) {
  add("right");
  add("wrong\x1b[0m");
  Answer failed;
  failed.failure = Failure{"http 429", "come back later"};
  failed.end = kStart;
  results_.add({}, kStart, failed);
  const std::string text =
      table({"title",
             results_,
             {{"http://x/metrics", {{"h{a=\"b\"}", Histogram{{{0.001, 2}, {INFINITY, 2}}}}}}},
             {{12, "octet-router", 100 << 20, 105 << 20}}});
  EXPECT_THAT(text, HasSubstr("title\n\nrequests                    3\nfailed                      1\n"
                              "  http 429                  1  come back later\n"
                              "answers verified            2\nwrong answers               1\n"));
  EXPECT_THAT(text, HasSubstr("output tokens               8\noutput tokens/s           4.0\n"));
  EXPECT_THAT(text, HasSubstr("TTFT               10.000     10.000     10.000         2\n"));
  EXPECT_THAT(text, HasSubstr("h{a=\"b\"}\n                    0.500      0.900      0.990         2\n"));
  EXPECT_THAT(text, HasSubstr("octet-router (12)               100.00        105.00    +5.0 %\n"));
  EXPECT_THAT(
      text,
      HasSubstr(
          "wrong answer to the prompt in line 5\n  expected \"right\"\n  got      \"wrong\\033[0m\"\n"));
}

TEST_F(ReportTest, TableSaysWhereTokensAreNotTold) {
  add("right", std::nullopt);
  const std::string text = table({"title", results_, {}, {}});
  EXPECT_THAT(text, HasSubstr("output tokens               -  (1 answers do not tell)\n"));
  EXPECT_THAT(text, Not(HasSubstr("resident")));
}

TEST_F(ReportTest, JsonSaysTheSame) {
  add("right");
  const std::string text = report_json({"title",
                                        results_,
                                        {{"u", {{"h", Histogram{{{1, 2}, {INFINITY, 2}}}}}}},
                                        {{12, "octet-router", 100, std::nullopt}}});
  const boost::json::value value = boost::json::parse(text);
  EXPECT_EQ(value.at("requests").as_int64(), 1);
  EXPECT_EQ(value.at("wrong").as_int64(), 0);
  EXPECT_EQ(value.at("output_tokens").as_int64(), 4);
  EXPECT_NEAR(value.at("ttft_seconds").at("p50").as_double(), 0.01, 1e-6);
  EXPECT_EQ(value.at("scraped").at("u").at("h").at("p50").as_double(), 0.5);
  EXPECT_TRUE(value.at("processes").at(0).at("growth_percent").is_null());
}

}  // namespace
}  // namespace octet::bench
