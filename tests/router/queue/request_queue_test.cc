#include "router/queue/request_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace octet::router {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;
using Refusal = RequestQueue::Refusal;

class RequestQueueTest : public testing::Test {
 protected:
  RequestQueue& queue() {
    if (!queue_) queue_.emplace(limits_);
    return *queue_;
  }
  RequestQueue::Push push(QueuedId id, QueuedRequest request = {}) {
    request.id = id;
    if (request.num_tokens == 0) request.num_tokens = 10;
    return queue().push(request, now_);
  }
  std::vector<QueuedId> drain() {
    std::vector<QueuedId> order;
    while (const auto id = queue().front()) {
      order.push_back(*id);
      queue().pop(now_);
    }
    return order;
  }
  // Makes the queue's rate known: num_tokens a second, for 20 seconds.
  void run_at(uint64_t num_tokens) {
    push(1'000'000, {.num_tokens = 1});
    for (int i = 0; i < 200; ++i) {
      now_ += std::chrono::milliseconds(100);
      push(2'000'000, {.priority = -50, .num_tokens = num_tokens / 10});
      queue().pop(now_);
    }
    queue().remove(1'000'000, now_);
  }

  QueueLimits limits_;
  Time now_ = Time(std::chrono::hours(1));
  std::optional<RequestQueue> queue_;
};

TEST_F(RequestQueueTest, ArrivalDecidesAmongEquals) {
  for (QueuedId id : {3, 1, 2}) push(id);
  EXPECT_THAT(drain(), ElementsAre(3, 1, 2));
  EXPECT_FALSE(queue().front());
  EXPECT_EQ(queue().num_tokens(), 0U);
}

TEST_F(RequestQueueTest, LowerPriorityNumbersAndEarlierDeadlinesComeFirst) {
  push(1, {.priority = 5, .deadline = now_ + seconds(1)});
  push(2, {.deadline = now_ + seconds(20)});
  push(3, {.deadline = now_ + seconds(10)});
  push(4);  // none
  push(5, {.priority = -5, .deadline = now_ + seconds(99)});
  EXPECT_THAT(drain(), ElementsAre(5, 3, 2, 4, 1));
}

TEST_F(RequestQueueTest, TenantsTakeTurnsByTokens) {
  for (QueuedId id : {10, 11, 12, 13}) push(id, {.tenant = "small", .num_tokens = 10});
  for (QueuedId id : {20, 21}) push(id, {.tenant = "large", .num_tokens = 30});
  EXPECT_THAT(drain(), ElementsAre(10, 20, 11, 12, 13, 21));
}

TEST_F(RequestQueueTest, WeightsDivideTokens) {
  for (QueuedId id = 0; id < 6; ++id) push(id, {.tenant = "double", .weight = 2});
  for (QueuedId id = 10; id < 16; ++id) push(id, {.tenant = "single"});
  std::vector<QueuedId> first_six = drain();
  first_six.resize(6);
  EXPECT_EQ(std::count_if(first_six.begin(), first_six.end(), [](QueuedId id) { return id < 10; }), 4);
}

TEST_F(RequestQueueTest, GeneratedTokensCountAsServed) {
  for (QueuedId id : {10, 11}) push(id, {.tenant = "talker"});
  for (QueuedId id : {20, 21, 22, 23}) push(id, {.tenant = "other"});
  queue().pop(now_);  // 10
  queue().charge("talker", 0, 25);
  EXPECT_THAT(drain(), ElementsAre(20, 21, 22, 23, 11));
}

TEST_F(RequestQueueTest, WhoeverWasAwayHasNoCredit) {
  for (QueuedId id = 0; id < 10; ++id) push(id, {.tenant = "steady"});
  for (int i = 0; i < 5; ++i) queue().pop(now_);
  for (QueuedId id = 20; id < 25; ++id) push(id, {.tenant = "returns"});
  EXPECT_THAT(drain(), ElementsAre(5, 20, 6, 21, 7, 22, 8, 23, 9, 24));
}

TEST_F(RequestQueueTest, WhoeverComesBackGoesBeforeWhoAlwaysWaits) {
  push(20, {.tenant = "seldom"});
  for (QueuedId id = 0; id < 9; ++id) push(id, {.tenant = "steady"});
  for (int i = 0; i < 4; ++i) queue().pop(now_);  // 20, 0, 1, 2
  push(21, {.tenant = "seldom"});
  push(22, {.tenant = "seldom"});
  EXPECT_THAT(drain(), ElementsAre(21, 3, 4, 22, 5, 6, 7, 8));
}

TEST_F(RequestQueueTest, NewTenantsDoNotOvertakeOneThatWaitsForEver) {
  push(1, {.tenant = "z"});
  push(2, {.tenant = "z"});
  queue().pop(now_);
  int num_popped = 0;
  while (queue().front() != QueuedId{2}) {
    push(100 + num_popped, {.tenant = "a" + std::to_string(num_popped)});
    if (queue().front() != QueuedId{2}) queue().pop(now_);
    ASSERT_LT(++num_popped, 3);
  }
}

TEST_F(RequestQueueTest, FullQueueRefusesAndSaysWhichLimit) {
  limits_ = {.max_requests = 2, .max_tokens = 100};
  push(1, {.num_tokens = 60});
  EXPECT_EQ(push(2, {.num_tokens = 41}).refusal, Refusal::kTokens);
  EXPECT_EQ(push(3, {.num_tokens = 40}).refusal, Refusal::kNone);
  EXPECT_EQ(push(4, {.num_tokens = 1}).refusal, Refusal::kRequests);
  EXPECT_EQ(push(5, {.priority = -1, .num_tokens = 101}).refusal, Refusal::kTokens);
  EXPECT_EQ(queue().num_requests(), 2U);
  EXPECT_EQ(queue().num_tokens(), 100U);
  EXPECT_TRUE(queue().remove(1, now_));
  EXPECT_FALSE(queue().remove(1, now_));
  EXPECT_EQ(push(6, {.num_tokens = 60}).refusal, Refusal::kNone);
}

TEST_F(RequestQueueTest, FullQueueTakesAHigherClassInPlaceOfTheLowestsLast) {
  limits_.max_requests = 3;
  push(1, {.priority = 1, .deadline = now_ + seconds(5)});
  push(2, {.priority = 1, .deadline = now_ + seconds(1)});
  push(3);
  EXPECT_THAT(push(4).displaced, ElementsAre(1));
  EXPECT_THAT(push(5).displaced, ElementsAre(2));
  const auto refused = push(6);
  EXPECT_EQ(refused.refusal, Refusal::kRequests);
  EXPECT_THAT(refused.displaced, IsEmpty());
  EXPECT_THAT(drain(), ElementsAre(3, 4, 5));
}

TEST_F(RequestQueueTest, OneTenantCannotKeepOthersOutOfAFullQueue) {
  limits_.max_requests = 10;
  for (QueuedId id = 0; id < 10; ++id) push(id, {.tenant = "flood"});
  EXPECT_EQ(push(50, {.tenant = "flood"}).refusal, Refusal::kRequests);
  for (QueuedId id = 100; id < 105; ++id) {
    EXPECT_THAT(push(id, {.tenant = "light"}).displaced, ElementsAre(109 - id));
  }
  EXPECT_EQ(push(105, {.tenant = "light"}).refusal, Refusal::kRequests) << "more than half would be its own";
  EXPECT_EQ(push(51, {.tenant = "flood"}).refusal, Refusal::kRequests);
  EXPECT_THAT(push(106, {.tenant = "heavy", .weight = 4}).displaced, ElementsAre(4));
}

TEST_F(RequestQueueTest, RefusedNewcomerLeavesEverythingAsItWas) {
  limits_ = {.max_requests = 10, .max_tokens = 100};
  push(1, {.priority = 1, .num_tokens = 30});
  push(2, {.num_tokens = 70});
  const auto refused = push(3, {.num_tokens = 31});  // the place of 1 would not do
  EXPECT_EQ(refused.refusal, Refusal::kTokens);
  EXPECT_THAT(refused.displaced, IsEmpty());
  EXPECT_EQ(queue().num_tokens(), 100U);
  EXPECT_THAT(drain(), ElementsAre(2, 1));
}

TEST_F(RequestQueueTest, ExpiresThoseWhoseDeadlineHasCome) {
  push(1, {.deadline = now_ + seconds(3)});
  push(2, {.tenant = "b", .priority = 7, .deadline = now_ + seconds(1)});
  push(3);
  EXPECT_EQ(queue().next_deadline(), now_ + seconds(1));
  EXPECT_THAT(queue().expire(now_), IsEmpty());
  now_ += seconds(3);
  EXPECT_THAT(queue().expire(now_), ElementsAre(2, 1));
  EXPECT_EQ(queue().next_deadline(), kNoDeadline);
  EXPECT_THAT(drain(), ElementsAre(3));
}

TEST_F(RequestQueueTest, RefusesWhatCannotMakeItsDeadline) {
  run_at(100);
  push(1, {.num_tokens = 1000});  // ten seconds
  const auto late = push(2, {.deadline = now_ + seconds(5)});
  EXPECT_EQ(late.refusal, Refusal::kNone) << "an earlier deadline of the same tenant runs first";
  push(3, {.deadline = now_ + seconds(6), .num_tokens = 1000});
  const auto refused = push(4, {.deadline = now_ + seconds(7)});
  EXPECT_EQ(refused.refusal, Refusal::kDeadline);
  ASSERT_TRUE(refused.wait);
  EXPECT_NEAR(octet::seconds(*refused.wait), 10.1, 0.5);
  EXPECT_EQ(push(5, {.priority = -1, .deadline = now_ + seconds(7)}).refusal, Refusal::kNone);
  EXPECT_EQ(push(6, {.deadline = now_ + seconds(30)}).refusal, Refusal::kNone);
}

TEST_F(RequestQueueTest, RefusesWhatWouldWaitTooLong) {
  limits_.max_wait = seconds(5);
  run_at(100);
  push(1, {.num_tokens = 600});
  EXPECT_EQ(push(2).refusal, Refusal::kWait);
  EXPECT_EQ(push(3, {.priority = -1}).refusal, Refusal::kNone);
  EXPECT_EQ(push(4, {.tenant = "other"}).refusal, Refusal::kNone);
}

TEST_F(RequestQueueTest, TimeWithoutPipelinesDoesNotLowerTheRate) {
  run_at(100);
  push(1, {.num_tokens = 1000});
  queue().set_stalled(true, now_);
  now_ += seconds(10);
  queue().set_stalled(false, now_);
  EXPECT_NEAR(octet::seconds(*push(2).wait), 10, 1);
  now_ += seconds(10);
  EXPECT_GT(octet::seconds(*push(3).wait), 15) << "time in which nothing was popped does";
}

TEST_F(RequestQueueTest, OneTenantsBacklogIsNotAnothersWait) {
  run_at(100);
  for (QueuedId id = 1; id <= 20; ++id) push(id, {.tenant = "flood", .num_tokens = 100});
  EXPECT_EQ(push(50, {.tenant = "flood", .deadline = now_ + seconds(10)}).wait.value(), Duration::zero())
      << "its deadline is the earliest of its tenant's";
  const auto light = push(51, {.tenant = "light", .deadline = now_ + seconds(2)});
  EXPECT_EQ(light.refusal, Refusal::kNone);
  EXPECT_LT(octet::seconds(*light.wait), 2);
}

TEST_F(RequestQueueTest, WithoutExperienceNoDeadlineIsHopeless) {
  push(1, {.num_tokens = 900'000});
  const auto taken = push(2, {.deadline = now_ + std::chrono::milliseconds(1)});
  EXPECT_EQ(taken.refusal, Refusal::kNone);
  EXPECT_FALSE(taken.wait);
}

}  // namespace
}  // namespace octet::router
