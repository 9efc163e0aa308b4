#include "router/routing/loop_stream.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <numeric>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/grpc_server.h"
#include "octet/v1/pipeline.grpc.pb.h"

namespace octet::router {
namespace {

using WatchStream = LoopStream<grpc::ClientReadReactor<v1::WatchResponse>, v1::WatchResponse>;

// One of gRPC's threads that lets go of a process's last channel waits for itself, and the process aborts.
TEST(LoopStreamTest, OnlyTheLoopLetsGoOfAStream) {
  boost::asio::io_context loop(1);
  auto work = boost::asio::make_work_guard(loop);
  std::thread thread([&] { loop.run(); });
  for (int i = 0; i < 200 && !testing::Test::HasFailure(); ++i) {
    v1::WatchRequest request;
    std::promise<std::thread::id> let_go;
    // Dies with the stream's events.
    std::shared_ptr<int> watched(new int(), [&](const int* value) {
      delete value;
      let_go.set_value(std::this_thread::get_id());
    });
    boost::asio::post(loop, [&loop, &request, watched = std::move(watched)] {
      // The discard port: nobody answers.
      const auto stub = v1::Pipeline::NewStub(internal_channel("127.0.0.1:9"));
      const auto stream = std::make_shared<WatchStream>(
          loop, WatchStream::Events{[](const v1::WatchResponse&) {}, [watched](const grpc::Status&) {}});
      stub->async()->Watch(stream->context(), &request, stream.get());
      stream->open();
    });
    std::future<std::thread::id> where = let_go.get_future();
    EXPECT_EQ(where.get(), thread.get_id()) << "stream " << i;
  }
  work.reset();
  thread.join();
}

// Writes messages of 16 KiB with rising sequence numbers.
class Talker final : public v1::Pipeline::Service {
 public:
  static constexpr uint64_t kNumMessages = 1000;
  static constexpr size_t kMessageBytes = 16 << 10;

  std::promise<void> has_written_much;  // more than flow control lets wait unread

 private:
  grpc::Status Watch(grpc::ServerContext*, const v1::WatchRequest*,
                     grpc::ServerWriter<v1::WatchResponse>* writer) override {
    v1::WatchResponse response;
    response.mutable_model()->set_name(std::string(kMessageBytes, 'x'));
    for (uint64_t i = 1; i <= kNumMessages; ++i) {
      response.set_sequence_number(i);
      writer->Write(response);
      if (i == kNumMessages / 20) has_written_much.set_value();
    }
    return grpc::Status::OK;
  }
};

TEST(LoopStreamTest, GivesWhatCameInOneTurnTogetherAndReadsAheadNoFurtherThanItsLimit) {
  Talker talker;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&talker);
  const auto server = builder.BuildAndStart();
  ASSERT_NE(port, 0);

  boost::asio::io_context loop(1);
  const v1::WatchRequest request;
  const auto stub = v1::Pipeline::NewStub(internal_channel("127.0.0.1:" + std::to_string(port)));
  std::vector<uint64_t> numbers;
  std::vector<size_t> turns;  // messages of each
  std::optional<grpc::Status> end;
  std::future<void> written_much = talker.has_written_much.get_future();
  uint64_t num_heard = 0;
  const auto in_one = [&](std::vector<v1::WatchResponse> messages) {
    if (turns.empty()) {
      EXPECT_EQ(written_much.wait_for(std::chrono::seconds(30)), std::future_status::ready)
          << "nothing is read while the loop is busy";
    }
    turns.push_back(messages.size());
    for (const v1::WatchResponse& message : messages) numbers.push_back(message.sequence_number());
    return std::move(messages.back());
  };
  const auto stream = std::make_shared<WatchStream>(
      loop, WatchStream::Events{[&](const v1::WatchResponse&) { ++num_heard; },
                                [&](const grpc::Status& status) { end = status; }, in_one});
  auto work = boost::asio::make_work_guard(loop);
  stub->async()->Watch(stream->context(), &request, stream.get());
  stream->open();
  while (!end) loop.run_one();

  EXPECT_TRUE(end->ok()) << end->error_message();
  std::vector<uint64_t> expected(Talker::kNumMessages);
  std::iota(expected.begin(), expected.end(), 1);
  EXPECT_EQ(numbers, expected);
  EXPECT_EQ(num_heard, turns.size());
  const size_t most = *std::max_element(turns.begin(), turns.end());
  EXPECT_GT(most, 1u);
  EXPECT_LE(most, (size_t{1} << 20) / Talker::kMessageBytes + 1);
}

}  // namespace
}  // namespace octet::router
