#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio.hpp>
#include <future>
#include <thread>

#include "worker/link/frame.h"
#include "worker/link/link.h"

namespace octet::worker {
namespace {

const LinkKey kKey = make_link_key();

namespace asio = boost::asio;
using asio::ip::tcp;
using testing::HasSubstr;

using Bytes = std::vector<std::byte>;
using Links = std::vector<std::unique_ptr<Link>>;

// Long enough for a loaded machine; nothing here waits that long unless it fails.
Time soon() {
  return now() + std::chrono::seconds(20);
}
Time at_once() {
  return now() + std::chrono::milliseconds(20);
}

Bytes pattern(size_t size, uint32_t seed) {
  Bytes bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>((i + seed) * 2654435761u >> 24);
  return bytes;
}

// A plain socket to the listener, for strangers and peers that break the rules.
class RawPeer {
 public:
  explicit RawPeer(int port) : socket_(context_) {
    socket_.connect({asio::ip::address_v4::loopback(), static_cast<uint16_t>(port)}, error_);
    EXPECT_FALSE(error_) << error_.message();
  }
  void write(std::span<const std::byte> bytes) {
    asio::write(socket_, asio::buffer(bytes.data(), bytes.size()), error_);
    EXPECT_FALSE(error_) << error_.message();
  }
  void read_welcome() {
    std::array<std::byte, kGreetingBytes> answer{};
    asio::read(socket_, asio::buffer(answer), error_);
    EXPECT_TRUE(decode_greeting(answer, GreetingKind::kWelcome, kKey)) << error_.message();
  }
  // Whether the listener has closed the connection.
  bool is_dropped() {
    std::byte byte{};
    asio::read(socket_, asio::buffer(&byte, 1), error_);
    return error_ == asio::error::eof || error_ == asio::error::connection_reset;
  }

 private:
  asio::io_context context_;
  tcp::socket socket_;
  boost::system::error_code error_;
};

class TcpLinkTest : public testing::Test {
 protected:
  void SetUp() override {
    auto listener = TcpLinkListener::listen("127.0.0.1", 0);
    ASSERT_TRUE(listener.ok()) << listener.status();
    listener_ = *std::move(listener);
    address_ = "127.0.0.1:" + std::to_string(listener_->port());
  }

  std::future<absl::StatusOr<Links>> accept_links(uint64_t epoch, int num_ranks, Time deadline = soon()) {
    return std::async(std::launch::async,
                      [=, this] { return listener_->accept(epoch, kKey, num_ranks, deadline); });
  }

  // Links of epoch 1: senders_ and receivers_.
  void join(int num_ranks) {
    auto accepted = accept_links(1, num_ranks);
    auto connected = connect_links(address_, 1, kKey, num_ranks, soon());
    ASSERT_TRUE(connected.ok()) << connected.status();
    auto received = accepted.get();
    ASSERT_TRUE(received.ok()) << received.status();
    senders_ = *std::move(connected);
    receivers_ = *std::move(received);
  }

  // A receiving link of epoch 1 whose sender is the test itself.
  std::unique_ptr<RawPeer> join_raw() {
    auto accepted = accept_links(1, 1);
    auto peer = std::make_unique<RawPeer>(listener_->port());
    peer->write(encode(Greeting{1, 0, 1}, GreetingKind::kHello, kKey));
    peer->read_welcome();
    auto received = accepted.get();
    EXPECT_TRUE(received.ok()) << received.status();
    if (received.ok()) receivers_ = *std::move(received);
    return peer;
  }

  std::unique_ptr<TcpLinkListener> listener_;
  std::string address_;
  Links senders_;
  Links receivers_;
};

TEST_F(TcpLinkTest, CarriesEachRanksBytes) {
  join(3);
  for (uint64_t step = 0; step < 5; ++step) {
    for (uint32_t rank = 0; rank < 3; ++rank) {
      const Bytes sent = pattern(1000 * step + rank, rank);
      EXPECT_TRUE(senders_[rank]->send(step, sent, soon()).ok());
    }
    for (uint32_t rank = 0; rank < 3; ++rank) {
      Bytes got(1000 * step + rank);
      const absl::Status status = receivers_[rank]->receive(step, got, soon());
      EXPECT_TRUE(status.ok()) << status;
      EXPECT_EQ(got, pattern(1000 * step + rank, rank));
    }
  }
}

TEST_F(TcpLinkTest, CarriesMoreThanTheSocketsHold) {
  join(1);
  const Bytes sent = pattern(16 << 20, 9);
  auto sending = std::async(std::launch::async, [&] { return senders_[0]->send(1, sent, soon()); });
  Bytes got(sent.size());
  const absl::Status status = receivers_[0]->receive(1, got, soon());
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_TRUE(sending.get().ok());
  EXPECT_TRUE(got == sent);
}

TEST_F(TcpLinkTest, TellsAtOnceWhetherThePeerIsGone) {
  join(2);
  for (const bool asks_sender : {true, false}) {
    const size_t rank = asks_sender ? 0 : 1;
    Link& asked = *(asks_sender ? senders_ : receivers_)[rank];
    ASSERT_TRUE(senders_[rank]->send(1, pattern(100, 1), soon()).ok());
    EXPECT_EQ(asked.check(), absl::OkStatus()) << "what nobody has read is no matter";
    (asks_sender ? receivers_ : senders_)[rank]->close();
    const Time deadline = soon();
    while (asked.check().ok() && now() < deadline) std::this_thread::yield();
    EXPECT_TRUE(absl::IsUnavailable(asked.check())) << asked.check();
    EXPECT_THAT(std::string(asked.check().message()), HasSubstr("the peer is gone"));
    asked.close();
    EXPECT_THAT(std::string(asked.check().message()), HasSubstr("the link was closed"));
  }
}

TEST_F(TcpLinkTest, ReceiveEndsAtTheDeadlineAndTheLinkWithIt) {
  join(1);
  Bytes got(100);
  const absl::Status late = receivers_[0]->receive(1, got, at_once());
  EXPECT_TRUE(absl::IsDeadlineExceeded(late)) << late;
  EXPECT_THAT(std::string(late.message()), HasSubstr("rank 0, step 1"));
  EXPECT_EQ(receivers_[0]->receive(1, got, soon()), late) << "the stream may stand inside a message";
}

TEST_F(TcpLinkTest, ReceiveEndsAtTheDeadlineInsideAMessage) {
  const auto peer = join_raw();
  const Bytes half = pattern(50, 1);
  peer->write(encode(FrameHeader{1, 1, 100, 0}));
  peer->write(half);
  Bytes got(100);
  EXPECT_TRUE(absl::IsDeadlineExceeded(receivers_[0]->receive(1, got, at_once())));
}

TEST_F(TcpLinkTest, SendEndsAtTheDeadlineWhenThePeerDoesNotRead) {
  join(1);
  const Bytes much(64 << 20);
  EXPECT_TRUE(absl::IsDeadlineExceeded(senders_[0]->send(1, much, at_once())));
}

TEST_F(TcpLinkTest, ADeadlineThatHasPassedEndsTheCallAtOnce) {
  join(2);
  const Bytes much(64 << 20);
  EXPECT_TRUE(absl::IsDeadlineExceeded(senders_[0]->send(1, much, now() - std::chrono::seconds(1))));
  Bytes got(100);
  EXPECT_TRUE(absl::IsDeadlineExceeded(receivers_[1]->receive(1, got, now() - std::chrono::seconds(1))));
}

TEST_F(TcpLinkTest, RefusesAnotherStepSizeEpochAndGarbage) {
  const Bytes bytes = pattern(100, 1);
  const auto status_after = [&](const FrameHeader& header, const Bytes& content) {
    const auto peer = join_raw();
    peer->write(encode(header));
    peer->write(content);
    Bytes got(100);
    return receivers_[0]->receive(5, got, soon());
  };
  EXPECT_TRUE(status_after({1, 5, 100, checksum(bytes)}, bytes).ok());
  EXPECT_TRUE(absl::IsDataLoss(status_after({1, 4, 100, checksum(bytes)}, bytes)));
  EXPECT_TRUE(absl::IsDataLoss(status_after({2, 5, 100, checksum(bytes)}, bytes)));
  EXPECT_TRUE(absl::IsDataLoss(status_after({1, 5, 99, checksum(bytes)}, bytes)));
  EXPECT_TRUE(absl::IsDataLoss(status_after({1, 5, ~uint64_t{0}, checksum(bytes)}, bytes)));
  EXPECT_THAT(std::string(status_after({1, 5, 100, checksum(bytes) + 1}, bytes).message()),
              HasSubstr("checksum"));

  const auto peer = join_raw();
  peer->write(pattern(kFrameHeaderBytes, 3));
  Bytes got(100);
  EXPECT_THAT(std::string(receivers_[0]->receive(5, got, soon()).message()), HasSubstr("no frame header"));
}

TEST_F(TcpLinkTest, NoticesThatThePeerIsGone) {
  join(1);
  Bytes got(100);
  auto receiving = std::async(std::launch::async, [&] { return receivers_[0]->receive(1, got, soon()); });
  senders_.clear();
  const absl::Status status = receiving.get();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;

  join(1);
  receivers_.clear();
  absl::Status sent;
  for (uint64_t step = 1; sent.ok() && step < 1000; ++step) sent = senders_[0]->send(step, got, soon());
  EXPECT_TRUE(absl::IsUnavailable(sent)) << sent;
}

TEST_F(TcpLinkTest, WhatWasSentArrivesThoughTheSenderIsGone) {
  join(1);
  EXPECT_TRUE(senders_[0]->send(1, pattern(100, 4), soon()).ok());
  senders_.clear();
  Bytes got(100);
  EXPECT_TRUE(receivers_[0]->receive(1, got, soon()).ok());
  EXPECT_EQ(got, pattern(100, 4));
}

TEST_F(TcpLinkTest, CloseWakesReceiveAndSend) {
  join(1);
  Bytes got(100);
  auto receiving =
      std::async(std::launch::async, [&] { return receivers_[0]->receive(1, got, kNoDeadline); });
  receivers_[0]->close();
  EXPECT_TRUE(absl::IsUnavailable(receiving.get()));
  EXPECT_TRUE(absl::IsUnavailable(receivers_[0]->receive(2, got, soon())));

  join(1);
  const Bytes much(64 << 20);
  auto sending = std::async(std::launch::async, [&] { return senders_[0]->send(1, much, kNoDeadline); });
  senders_[0]->close();
  EXPECT_TRUE(absl::IsUnavailable(sending.get()));
}

TEST_F(TcpLinkTest, StrangersDisturbNobody) {
  auto accepted = accept_links(1, 2);
  std::vector<std::unique_ptr<RawPeer>> silent;
  for (int i = 0; i < 100; ++i) silent.push_back(std::make_unique<RawPeer>(listener_->port()));

  const std::string http =
      "GET /metrics HTTP/1.1\r\nHost: stage\r\nUser-Agent: a browser\r\nAccept: */*\r\n\r\n";
  RawPeer browser(listener_->port());
  browser.write(std::as_bytes(std::span(http)));
  EXPECT_TRUE(browser.is_dropped());
  for (const Greeting& greeting :
       {Greeting{2, 0, 2}, Greeting{1, 2, 2}, Greeting{1, 0, 3}, Greeting{1, ~0u, 2}}) {
    RawPeer stranger(listener_->port());
    stranger.write(encode(greeting, GreetingKind::kHello, kKey));
    EXPECT_TRUE(stranger.is_dropped()) << greeting.epoch << " " << greeting.rank << " " << greeting.num_ranks;
  }
  {
    RawPeer hasty(listener_->port());
    hasty.write(pattern(3, 1));
  }
  EXPECT_TRUE(silent.front()->is_dropped()) << "connections that say nothing are kept without a limit";

  const auto connected = connect_links(address_, 1, kKey, 2, soon());
  ASSERT_TRUE(connected.ok()) << connected.status();
  const auto received = accepted.get();
  ASSERT_TRUE(received.ok()) << received.status();
  EXPECT_TRUE(silent.back()->is_dropped());
  Bytes got(10);
  EXPECT_TRUE((*connected)[1]->send(1, pattern(10, 1), soon()).ok());
  EXPECT_TRUE((*received)[1]->receive(1, got, soon()).ok());
}

TEST_F(TcpLinkTest, ConnectsBeforeTheListenerAccepts) {
  auto connecting =
      std::async(std::launch::async, [&] { return connect_links(address_, 1, kKey, 2, soon()); });
  const auto stale = listener_->accept(7, kKey, 1, at_once());  // drops what comes for epoch 1 meanwhile
  EXPECT_TRUE(absl::IsDeadlineExceeded(stale.status()));
  const auto received = listener_->accept(1, kKey, 2, soon());
  EXPECT_TRUE(received.ok()) << received.status();
  EXPECT_TRUE(connecting.get().ok());
}

TEST_F(TcpLinkTest, AStrangerWithoutTheEpochsKeyGetsNoLinkAndNoActivations) {
  RawPeer stranger(listener_->port());
  stranger.write(encode(Greeting{1, 0, 1}, GreetingKind::kHello, make_link_key()));
  const auto received = listener_->accept(1, kKey, 1, now() + std::chrono::milliseconds(200)).status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(received)) << received;
  EXPECT_TRUE(stranger.is_dropped());
  auto accepted = accept_links(1, 1, now() + std::chrono::milliseconds(200));
  const auto sent = connect_links(address_, 1, make_link_key(), 1, now() + std::chrono::milliseconds(100));
  EXPECT_TRUE(absl::IsDeadlineExceeded(sent.status())) << sent.status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(accepted.get().status()));
}

TEST_F(TcpLinkTest, AcceptNamesTheRanksThatDidNotCome) {
  RawPeer peer(listener_->port());
  peer.write(encode(Greeting{1, 1, 3}, GreetingKind::kHello, kKey));
  const auto status = listener_->accept(1, kKey, 3, now() + std::chrono::seconds(1)).status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("rank 0, 2"));
}

TEST_F(TcpLinkTest, AStopEndsAcceptWhetherOrNotItHasBegun) {
  std::stop_source stop;
  auto accepted =
      std::async(std::launch::async, [&] { return listener_->accept(1, kKey, 1, soon(), stop.get_token()); });
  stop.request_stop();
  EXPECT_TRUE(absl::IsCancelled(accepted.get().status()));
  EXPECT_TRUE(absl::IsCancelled(listener_->accept(1, kKey, 1, soon(), stop.get_token()).status()));
  join(1);
}

TEST_F(TcpLinkTest, AStopEndsConnectWhetherThePeerIsSilentOrGone) {
  for (const bool gone : {false, true}) {
    if (gone) listener_.reset();
    std::stop_source stop;
    auto connected = std::async(
        std::launch::async, [&] { return connect_links(address_, 1, kKey, 1, soon(), stop.get_token()); });
    stop.request_stop();
    EXPECT_TRUE(absl::IsCancelled(connected.get().status()));
    EXPECT_TRUE(absl::IsCancelled(connect_links(address_, 1, kKey, 1, soon(), stop.get_token()).status()));
  }
}

TEST_F(TcpLinkTest, ConnectNamesAddressAndRank) {
  listener_.reset();  // nobody listens at its port now
  const auto refused = connect_links(address_, 1, kKey, 1, now() + std::chrono::milliseconds(100)).status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr(address_ + ": rank 0 cannot connect"));
  for (const char* address :
       {"", "localhost", ":80", "localhost:", "localhost:0", "localhost:65536", "localhost:8x"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(connect_links(address, 1, kKey, 1, soon()).status())) << address;
  }
}

TEST_F(TcpLinkTest, ConnectEndsAtTheDeadlineWhenNobodyAnswers) {
  const auto status = connect_links(address_, 1, kKey, 1, now() + std::chrono::milliseconds(50)).status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
}

TEST_F(TcpLinkTest, ListenNamesAnAddressThatIsTaken) {
  const auto status = TcpLinkListener::listen("127.0.0.1", listener_->port()).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(address_));
  EXPECT_TRUE(absl::IsUnavailable(TcpLinkListener::listen("127.0.0.1", 70000).status()));
  EXPECT_TRUE(absl::IsUnavailable(TcpLinkListener::listen("256.0.0.1.invalid", 0).status()));
}

}  // namespace
}  // namespace octet::worker
