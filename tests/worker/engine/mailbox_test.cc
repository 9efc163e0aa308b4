#include "worker/engine/mailbox.h"

#include <gtest/gtest.h>

#include <thread>

namespace octet::worker {
namespace {

TEST(MailboxTest, GivesEventsInTheOrderInWhichTheyCame) {
  Mailbox mailbox(10);
  EXPECT_TRUE(mailbox.offer(CancelEvent{1, 2}));
  EXPECT_TRUE(mailbox.post(DrainEvent{}));
  mailbox.on_lost(3, 4, absl::UnavailableError("gone"));
  std::vector<Event> events;
  ASSERT_TRUE(mailbox.take(events, kNoDeadline));
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(std::get<CancelEvent>(events[0]).router_sequence_id, 2u);
  EXPECT_TRUE(std::holds_alternative<DrainEvent>(events[1]));
  EXPECT_EQ(std::get<LostEvent>(events[2]).epoch, 4u);
}

TEST(MailboxTest, LimitsOffersAndNotPosts) {
  Mailbox mailbox(2);
  EXPECT_TRUE(mailbox.offer(CancelEvent{}));
  EXPECT_TRUE(mailbox.offer(CancelEvent{}));
  EXPECT_FALSE(mailbox.offer(CancelEvent{}));
  EXPECT_TRUE(mailbox.post(DrainEvent{}));
  std::vector<Event> events;
  ASSERT_TRUE(mailbox.take(events, kNoDeadline));
  EXPECT_EQ(events.size(), 3u);
  EXPECT_TRUE(mailbox.offer(CancelEvent{}));
}

TEST(MailboxTest, TellsSinceWhenTheFirstEventWaits) {
  Mailbox mailbox(2);
  EXPECT_FALSE(mailbox.waiting_since());
  const Time before = now();
  mailbox.post(DrainEvent{});
  const Time after = now();
  mailbox.post(DrainEvent{});
  ASSERT_TRUE(mailbox.waiting_since());
  EXPECT_GE(*mailbox.waiting_since(), before);
  EXPECT_LE(*mailbox.waiting_since(), after);
  std::vector<Event> events;
  mailbox.take(events, now());
  EXPECT_FALSE(mailbox.waiting_since());
}

TEST(MailboxTest, ReturnsWithNothingAtTheDeadline) {
  Mailbox mailbox(2);
  std::vector<Event> events;
  EXPECT_TRUE(mailbox.take(events, now()));
  EXPECT_TRUE(events.empty());
}

TEST(MailboxTest, AnEventWakesATake) {
  Mailbox mailbox(2);
  std::thread sender([&] { mailbox.post(DrainEvent{}); });
  std::vector<Event> events;
  EXPECT_TRUE(mailbox.take(events, kNoDeadline));
  EXPECT_EQ(events.size(), 1u);
  sender.join();
}

TEST(MailboxTest, ClosingGivesTheLastEventsAndTakesNoMore) {
  Mailbox mailbox(2);
  EXPECT_TRUE(mailbox.post(DrainEvent{}));
  mailbox.close();
  EXPECT_FALSE(mailbox.post(DrainEvent{}));
  EXPECT_FALSE(mailbox.offer(CancelEvent{}));
  std::vector<Event> events;
  EXPECT_FALSE(mailbox.take(events, kNoDeadline));
  EXPECT_EQ(events.size(), 1u);
}

}  // namespace
}  // namespace octet::worker
