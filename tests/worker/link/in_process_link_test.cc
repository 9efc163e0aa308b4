#include <gtest/gtest.h>

#include <thread>

#include "worker/link/link.h"

namespace octet::worker {
namespace {

using Bytes = std::vector<std::byte>;

Time soon() {
  return now() + std::chrono::seconds(20);
}
Bytes bytes_of(size_t size, int value) {
  return Bytes(size, static_cast<std::byte>(value));
}

TEST(InProcessLink, DeliversInOrder) {
  const auto [sender, receiver] = in_process_link();
  EXPECT_TRUE(sender->send(1, bytes_of(100, 1), soon()).ok());
  EXPECT_TRUE(sender->send(2, bytes_of(0, 0), soon()).ok());
  EXPECT_TRUE(sender->send(3, bytes_of(5, 3), soon()).ok());
  Bytes got(100);
  EXPECT_TRUE(receiver->receive(1, got, soon()).ok());
  EXPECT_EQ(got, bytes_of(100, 1));
  EXPECT_TRUE(receiver->receive(2, {}, soon()).ok());
  got.resize(5);
  EXPECT_TRUE(receiver->receive(3, got, soon()).ok());
  EXPECT_EQ(got, bytes_of(5, 3));
}

TEST(InProcessLink, RefusesAnotherStepOrSize) {
  const auto [sender, receiver] = in_process_link();
  Bytes got(10);
  EXPECT_TRUE(sender->send(1, bytes_of(10, 1), soon()).ok());
  EXPECT_TRUE(absl::IsDataLoss(receiver->receive(2, got, soon())));
  EXPECT_TRUE(sender->send(3, bytes_of(9, 1), soon()).ok());
  EXPECT_TRUE(absl::IsDataLoss(receiver->receive(3, got, soon())));
}

TEST(InProcessLink, EndsAtTheDeadline) {
  const auto [sender, receiver] = in_process_link();
  Bytes got(10);
  EXPECT_TRUE(absl::IsDeadlineExceeded(receiver->receive(1, got, now() + std::chrono::milliseconds(1))));
  absl::Status status;
  for (uint64_t step = 1; status.ok(); ++step) {
    ASSERT_LT(step, 1000u) << "the queue has no end";
    status = sender->send(step, got, now() + std::chrono::milliseconds(1));
  }
  EXPECT_TRUE(absl::IsDeadlineExceeded(status));
}

TEST(InProcessLink, CloseOfEitherEndWakesReceive) {
  for (const bool own : {true, false}) {
    auto [sender, receiver] = in_process_link();
    std::thread closer([&, &from = own ? receiver : sender] { from->close(); });
    Bytes got(10);
    EXPECT_TRUE(absl::IsUnavailable(receiver->receive(1, got, kNoDeadline)));
    closer.join();
    EXPECT_TRUE(absl::IsUnavailable(sender->send(1, got, soon())));
  }
}

TEST(InProcessLink, WhatWasSentArrivesThoughTheSenderIsGone) {
  auto [sender, receiver] = in_process_link();
  EXPECT_TRUE(sender->send(1, bytes_of(10, 7), soon()).ok());
  sender.reset();
  Bytes got(10);
  EXPECT_TRUE(receiver->receive(1, got, soon()).ok());
  EXPECT_TRUE(absl::IsUnavailable(receiver->receive(2, got, soon())));
}

}  // namespace
}  // namespace octet::worker
