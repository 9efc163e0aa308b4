#include "tools/bench/load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/post.hpp>
#include <numeric>

namespace octet::bench {
namespace {

using testing::ElementsAre;

// Answers each request on the next turn of the event loop, or keeps it until told.
class FakeClient : public Client {
 public:
  explicit FakeClient(boost::asio::io_context& loop) : loop_(loop) {}

  absl::Status check(const Prompt&) const override { return absl::OkStatus(); }

  void send(const Prompt& prompt, Duration, std::function<void(Answer)> on_answer) override {
    lines.push_back(prompt.line);
    most_in_flight = std::max(most_in_flight, ++in_flight);
    if (hold) {
      held_.push_back(std::move(on_answer));
    } else {
      boost::asio::post(loop_, [this, on_answer = std::move(on_answer)] { answer(on_answer); });
    }
  }

  void answer_held() {
    for (const auto& on_answer : held_) answer(on_answer);
    held_.clear();
  }

  bool hold = false;
  std::vector<uint64_t> lines;  // of the prompts sent
  int in_flight = 0;
  int most_in_flight = 0;

 private:
  void answer(const std::function<void(Answer)>& on_answer) {
    --in_flight;
    Answer answer;
    answer.end = now();
    on_answer(answer);
  }

  boost::asio::io_context& loop_;
  std::vector<std::function<void(Answer)>> held_;
};

class LoadTest : public testing::Test {
 protected:
  LoadTest() : client_(loop_), prompts_(3) {
    for (size_t i = 0; i < prompts_.size(); ++i) prompts_[i].line = i + 1;
  }
  void run(const LoadPlan& plan) {
    Load load(loop_, client_, prompts_, plan, results_,
              [this](uint64_t finished) { finished_.push_back(finished); });
    load.start();
    loop_.run();
  }

  boost::asio::io_context loop_;
  FakeClient client_;
  std::vector<Prompt> prompts_;
  Results results_;
  std::vector<uint64_t> finished_;
};

TEST_F(LoadTest, ClosedLoopSendsPromptsInOrderAgainAndAgain) {
  LoadPlan plan;
  plan.loop = ClosedLoop{1};
  plan.num_requests = 5;
  run(plan);
  EXPECT_THAT(client_.lines, ElementsAre(1, 2, 3, 1, 2));
  EXPECT_THAT(finished_, ElementsAre(1, 2, 3, 4, 5));
  EXPECT_EQ(results_.num_requests, 5u);
}

TEST_F(LoadTest, ClosedLoopKeepsItsClientsBusyAndNoMore) {
  LoadPlan plan;
  plan.loop = ClosedLoop{4};
  plan.num_requests = 20;
  run(plan);
  EXPECT_EQ(client_.most_in_flight, 4);
  EXPECT_EQ(results_.num_requests, 20u);
}

TEST_F(LoadTest, ClosedLoopSendsNoMoreThanAskedWithManyClients) {
  LoadPlan plan;
  plan.loop = ClosedLoop{100};
  plan.num_requests = 2;
  run(plan);
  EXPECT_EQ(client_.lines.size(), 2u);
}

TEST_F(LoadTest, OpenLoopSendsWithoutWaitingForAnswers) {
  client_.hold = true;
  LoadPlan plan;
  plan.loop = OpenLoop{.requests_per_second = 1e5};
  plan.num_requests = 50;
  run(plan);  // returns when all are sent: held answers are no work of the loop
  EXPECT_EQ(client_.most_in_flight, 50);
}

TEST_F(LoadTest, OpenLoopFailsRequestsPastTheLimitInFlight) {
  client_.hold = true;
  LoadPlan plan;
  plan.loop = OpenLoop{.requests_per_second = 1e5, .max_in_flight = 10};
  plan.num_requests = 50;
  Load load(loop_, client_, prompts_, plan, results_, [](uint64_t) {});
  load.start();
  loop_.run();
  EXPECT_EQ(results_.failures.at("not sent").count, 40u);
  client_.answer_held();
  EXPECT_EQ(results_.num_requests, 50u);
}

// Omitting the wait of requests that should have been sent would make a stall look like one slow request.
TEST_F(LoadTest, OpenLoopMeasuresFromThePlannedArrival) {
  LoadPlan plan;
  plan.loop = OpenLoop{.requests_per_second = 1e6, .seed = 3};
  plan.num_requests = 100;
  Load load(loop_, client_, prompts_, plan, results_, [](uint64_t) {});
  const Time before = now();
  load.start();
  const Time stalled_until = before + std::chrono::milliseconds(20);
  while (now() < stalled_until) {  // a stall of the generator itself
  }
  loop_.run();
  EXPECT_GE(*results_.end_to_end.quantile(0.5), 0.015);
}

TEST(Arrivals, AreAPoissonProcessOfTheRate) {
  Arrivals arrivals(50, 1, Time());
  constexpr int kCount = 20'000;
  std::vector<double> gaps;
  Time last;
  for (int i = 0; i < kCount; ++i) {
    const Time at = arrivals.next();
    gaps.push_back(seconds(at - last));
    last = at;
  }
  const double mean = std::accumulate(gaps.begin(), gaps.end(), 0.0) / kCount;
  const double variance =
      std::accumulate(gaps.begin(), gaps.end(), 0.0,
                      [&](double sum, double gap) { return sum + (gap - mean) * (gap - mean); }) /
      kCount;
  EXPECT_NEAR(mean, 1.0 / 50, 0.0006);
  EXPECT_NEAR(variance / (mean * mean), 1, 0.05);
}

TEST(Arrivals, RepeatWithTheSeed) {
  Arrivals one(10, 4, Time());
  Arrivals same(10, 4, Time());
  Arrivals other(10, 5, Time());
  const Time first = one.next();
  EXPECT_EQ(first, same.next());
  EXPECT_NE(first, other.next());
}

}  // namespace
}  // namespace octet::bench
