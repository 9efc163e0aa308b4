// Ranks of two stages on emulated GPUs hand activations over, and where one does not do its part the other
// notices in time, says so, and serves the next epoch.
#include "worker/stage/hand_off.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <vector>

#include "kernels/cuda/cuda_backend.h"
#include "tests/cuda_emulator/emulator.h"

namespace octet::worker {
namespace {

const LinkKey kLinkKey = make_link_key();

using kernels::PeerRole;
using kernels::Tensor;
using ::testing::HasSubstr;

constexpr int64_t kRows = 3;
constexpr int64_t kColumns = 500;

using Links = std::vector<std::unique_ptr<Link>>;

Time soon() {
  return now() + std::chrono::milliseconds(50);
}
Time late() {
  return now() + std::chrono::minutes(1);
}

template <typename Call>
std::future<absl::Status> on_another_thread(const Call& call) {
  return std::async(std::launch::async, call);
}

class CudaHandOff : public testing::Test {
 protected:
  void SetUp() override {
    cuda_emulator::reset(2);
    for (const int device : {0, 1}) {
      ranks_.push_back(std::move(kernels::make_cuda_ranks({device}).front()));
      memory_.push_back(ranks_.back()->allocate(kRows * kColumns * sizeof(float)));
    }
    open(in_process_link());
  }

  // An epoch, whose ends connect() connects.
  void open(std::pair<std::unique_ptr<Link>, std::unique_ptr<Link>> links) {
    sender_ = std::make_unique<HandOff>(std::move(links.first), *ranks_[0], PeerRole::kSender);
    receiver_ = std::make_unique<HandOff>(std::move(links.second), *ranks_[1], PeerRole::kReceiver);
  }
  // The receiver's link.
  Link* open_tcp() {
    const auto listener = TcpLinkListener::listen("127.0.0.1", 0).value();
    auto accepted = std::async(std::launch::async, [&] { return listener->accept(1, kLinkKey, 1, late()); });
    auto connected =
        connect_links("127.0.0.1:" + std::to_string(listener->port()), 1, kLinkKey, 1, late()).value();
    Links links = accepted.get().value();
    Link* const receiver_link = links.front().get();
    open({std::move(connected.front()), std::move(links.front())});
    return receiver_link;
  }
  void connect() {
    ASSERT_TRUE(sender_->begin_connecting(late()).ok());
    ASSERT_TRUE(receiver_->begin_connecting(late()).ok());
    auto connected = on_another_thread([&] { return sender_->finish_connecting(late()); });
    EXPECT_TRUE(receiver_->finish_connecting(late()).ok());
    EXPECT_TRUE(connected.get().ok());
  }

  Tensor activations(size_t rank, int64_t num_rows = kRows) const {
    return Tensor(memory_[rank]->data(), kernels::DType::kFloat32, {num_rows, kColumns});
  }
  absl::Status send(uint64_t step, Time deadline) { return sender_->send(step, activations(0), deadline); }
  absl::Status receive(uint64_t step, Time deadline) {
    return receiver_->receive(step, activations(1), deadline);
  }
  // Others each time.
  void expect_a_hand_over(uint64_t step) {
    std::vector<float> numbers(kRows * kColumns, ++value_);
    ranks_[0]->upload(memory_[0]->data(), numbers.data(), kRows * kColumns * sizeof(float));
    auto sent = on_another_thread([&] { return send(step, late()); });
    EXPECT_EQ(receive(step, late()), absl::OkStatus());
    EXPECT_EQ(sent.get(), absl::OkStatus());
    std::vector<float> arrived(kRows * kColumns);
    ranks_[1]->download(arrived.data(), memory_[1]->data(), kRows * kColumns * sizeof(float));
    EXPECT_EQ(arrived, numbers);
  }
  void expect_the_next_epoch_to_serve() {
    open(in_process_link());
    connect();
    expect_a_hand_over(1);
    EXPECT_EQ(cuda_emulator::first_fault(), "");
  }
  // A receiver that has word of the step and does no more; the sender waits for its device.
  static void take_word(Link& link, uint64_t step) {
    std::array<std::byte, sizeof(int64_t)> word;
    ASSERT_TRUE(link.receive(step, word, late()).ok());
  }

  std::vector<std::unique_ptr<kernels::Backend>> ranks_;
  std::vector<std::unique_ptr<kernels::Buffer>> memory_;
  std::unique_ptr<HandOff> sender_;
  std::unique_ptr<HandOff> receiver_;
  float value_ = 0;
};

TEST_F(CudaHandOff, BringsActivationsFromDeviceToDevice) {
  connect();
  const size_t before = cuda_emulator::downloaded_bytes();
  expect_a_hand_over(1);
  expect_a_hand_over(2);
  const size_t looked_at = 2 * kRows * kColumns * sizeof(float);  // by the test
  EXPECT_EQ(cuda_emulator::downloaded_bytes() - before, looked_at);
  EXPECT_EQ(cuda_emulator::first_fault(), "");
}

TEST_F(CudaHandOff, ADeviceThatHangsIsNoticedAtTheDeadline) {
  connect();
  cuda_emulator::set_hanging(1, true);
  auto received = on_another_thread([&] { return receive(1, late()); });
  const absl::Status sent = send(1, soon());
  EXPECT_EQ(sent.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(sent.message(), "hand-off of rank 0: the peer's device did not answer in time");
  sender_->close();
  const absl::Status at_peer = received.get();
  EXPECT_EQ(at_peer.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(at_peer.message()), HasSubstr("hand-off of rank 0: "));
  cuda_emulator::set_hanging(1, false);
  expect_the_next_epoch_to_serve();
}

TEST_F(CudaHandOff, CloseWakesASenderAndAReceiverThatWait) {
  for (const bool sends : {true, false}) {
    auto [sender_link, receiver_link] = in_process_link();
    Link* const other_end = sends ? receiver_link.get() : sender_link.get();
    open({std::move(sender_link), std::move(receiver_link)});
    connect();
    auto waiting = on_another_thread([&] { return sends ? send(1, late()) : receive(1, late()); });
    if (sends) {
      take_word(*other_end, 1);
    } else {
      const int64_t count = kRows * kColumns;
      ASSERT_TRUE(other_end->send(1, std::as_bytes(std::span(&count, 1)), late()).ok());
    }
    EXPECT_EQ(waiting.wait_for(std::chrono::milliseconds(20)), std::future_status::timeout);
    (sends ? sender_ : receiver_)->close();
    EXPECT_EQ(waiting.get().message(), "hand-off of rank 0: the link was closed");
  }
  expect_the_next_epoch_to_serve();
}

// As when its process is killed.
TEST_F(CudaHandOff, APeerWhoseConnectionIsLostIsNoticedAtOnce) {
  Link* const receiver_link = open_tcp();
  connect();
  auto waiting = on_another_thread([&] { return send(1, late()); });
  take_word(*receiver_link, 1);
  receiver_link->close();
  const absl::Status sent = waiting.get();
  EXPECT_EQ(sent.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(sent.message(), "hand-off of rank 0: the peer is gone");
  expect_the_next_epoch_to_serve();
}

TEST_F(CudaHandOff, AnotherStepAndAnotherNumberOfRowsAreRefused) {
  connect();
  auto sent = on_another_thread([&] { return send(3, late()); });
  const absl::Status other_step = receive(4, late());
  EXPECT_EQ(other_step.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(other_step.message()), HasSubstr("the peer sent step 3"));
  receiver_->close();
  EXPECT_FALSE(sent.get().ok());

  open(in_process_link());
  connect();
  sent = on_another_thread([&] { return send(3, late()); });
  const absl::Status other_rows = receiver_->receive(3, activations(1, kRows - 1), late());
  EXPECT_EQ(other_rows.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(other_rows.message(),
            "hand-off of rank 0: the peer sends 1500 elements in step 3; expected 1000");
  receiver_->close();
  EXPECT_FALSE(sent.get().ok());
  expect_the_next_epoch_to_serve();
}

TEST_F(CudaHandOff, APeerThatDoesNotConnectIsNoticedAtTheDeadline) {
  ASSERT_TRUE(sender_->begin_connecting(late()).ok());
  EXPECT_EQ(sender_->finish_connecting(soon()).code(), absl::StatusCode::kDeadlineExceeded);
  open(in_process_link());
  EXPECT_EQ(receiver_->begin_connecting(soon()).code(), absl::StatusCode::kDeadlineExceeded) << "no id came";
  expect_the_next_epoch_to_serve();
}

TEST_F(CudaHandOff, AnErrorOfNcclIsToldWithTheRank) {
  cuda_emulator::set_nccl_state(ncclSystemError);
  ASSERT_TRUE(sender_->begin_connecting(late()).ok());
  const absl::Status connected = sender_->finish_connecting(late());
  EXPECT_EQ(connected.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(connected.message(),
            "hand-off of rank 0: NCCL between two stages: making the communicator: ncclSystemError");
  cuda_emulator::set_nccl_state(ncclSuccess);
  expect_the_next_epoch_to_serve();
}

}  // namespace
}  // namespace octet::worker
