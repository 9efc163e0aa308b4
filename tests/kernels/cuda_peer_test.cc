// Ranks of neighbouring stages hand data over from device to device, and none waits longer than it is told to
// for one that does not do its part.
#include <atomic>
#include <future>
#include <thread>

#include "kernels/cuda/cuda_backend.h"
#include "tests/cuda_emulator/emulator.h"
#include "tests/kernels/op_test.h"

namespace octet::kernels {
namespace {

using Problem = std::optional<std::string>;

Problem wait_on() {
  return std::nullopt;
}

// Each rank on a device and a thread of its own, as in two stages.
class CudaPeerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    cuda_emulator::reset(2);
    for (const int device : {0, 1}) {
      ranks_.push_back(std::move(make_cuda_ranks({device}).front()));
      data_.push_back(ranks_.back()->allocate(kCount * sizeof(float)));
    }
  }
  void connect() {
    PeerId id;
    ASSERT_EQ(ranks_[0]->make_peer_id(id), std::nullopt);
    sender_ = ranks_[0]->connect_peer(id, PeerRole::kSender);
    receiver_ = ranks_[1]->connect_peer(id, PeerRole::kReceiver);
    auto connected = std::async([&] { return sender_->wait_until_connected(wait_on); });
    EXPECT_EQ(receiver_->wait_until_connected(wait_on), std::nullopt);
    EXPECT_EQ(connected.get(), std::nullopt);
  }
  Problem send(const Peer::Interruption& interruption = wait_on) {
    return sender_->send(tensor(0), interruption);
  }
  Problem receive(const Peer::Interruption& interruption = wait_on) {
    return receiver_->receive(tensor(1), interruption);
  }
  Tensor tensor(size_t rank) const { return Tensor(data_[rank]->data(), DType::kFloat32, {1, kCount}); }
  // The sender's numbers arrive; they are others each time.
  void expect_a_hand_over() {
    std::vector<float> numbers(kCount, ++value_);
    ranks_[0]->upload(data_[0]->data(), numbers.data(), kCount * sizeof(float));
    auto sent = std::async([&] { return send(); });
    EXPECT_EQ(receive(), std::nullopt);
    EXPECT_EQ(sent.get(), std::nullopt);
    std::vector<float> arrived(kCount);
    ranks_[1]->download(arrived.data(), data_[1]->data(), kCount * sizeof(float));
    EXPECT_EQ(arrived, numbers);
  }

  static constexpr int64_t kCount = 5000;
  std::vector<std::unique_ptr<Backend>> ranks_;
  std::vector<std::unique_ptr<Buffer>> data_;
  std::unique_ptr<Peer> sender_;
  std::unique_ptr<Peer> receiver_;
  float value_ = 0;
};

TEST_F(CudaPeerTest, HandsOverWhatAnotherDeviceHas) {
  connect();
  expect_a_hand_over();
  expect_a_hand_over();
  EXPECT_EQ(cuda_emulator::first_fault(), "");
}

TEST_F(CudaPeerTest, AWaitEndsWithTheWordOfItsInterruptionAndTheDeviceServesTheNextPeer) {
  connect();
  int num_looks = 0;
  const auto stop = [&]() -> Problem {
    return ++num_looks < 20 ? std::nullopt : std::optional<std::string>("enough");
  };
  EXPECT_EQ(receive(stop), "enough");
  EXPECT_EQ(receive(), "enough") << "the connection is of no more use";
  connect();
  num_looks = 0;
  EXPECT_EQ(send(stop), "enough");
  connect();
  expect_a_hand_over();
}

TEST_F(CudaPeerTest, APeerThatHangsIsNoticed) {
  connect();
  cuda_emulator::set_hanging(1, true);
  std::atomic<bool> is_over = false;
  auto received = std::async([&] {
    return receive([&]() -> Problem { return is_over ? Problem("the other's matter") : std::nullopt; });
  });
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
  EXPECT_EQ(send([&]() -> Problem {
              return std::chrono::steady_clock::now() < deadline ? Problem() : Problem("it took too long");
            }),
            "it took too long");
  is_over = true;
  EXPECT_EQ(received.get(), "the other's matter");
  cuda_emulator::set_hanging(1, false);
  connect();
  expect_a_hand_over();
}

TEST_F(CudaPeerTest, APeerThatIsGoneIsNoticed) {
  connect();
  sender_.reset();
  EXPECT_EQ(receive(), "NCCL between two stages: ncclRecv: ncclRemoteError");
  connect();
  receiver_.reset();
  EXPECT_EQ(send(), "NCCL between two stages: ncclSend: ncclRemoteError");
}

TEST_F(CudaPeerTest, WhoNeverComesAndAnIdThatNobodyMadeAreNoticed) {
  PeerId id;
  ASSERT_EQ(ranks_[0]->make_peer_id(id), std::nullopt);
  const auto alone = ranks_[0]->connect_peer(id, PeerRole::kSender);
  EXPECT_EQ(alone->wait_until_connected([]() -> Problem { return "nobody came"; }), "nobody came");
  EXPECT_EQ(ranks_[1]->connect_peer(PeerId{}, PeerRole::kReceiver)->wait_until_connected(wait_on),
            "NCCL between two stages: making the communicator: ncclSystemError");
}

TEST_F(CudaPeerTest, AnErrorOfNcclEndsAWait) {
  connect();
  cuda_emulator::set_nccl_state(ncclInternalError);
  EXPECT_EQ(send(), "NCCL between two stages: ncclSend: ncclInternalError");
  cuda_emulator::set_nccl_state(ncclSuccess);  // for the ranks' end
}

}  // namespace
}  // namespace octet::kernels
