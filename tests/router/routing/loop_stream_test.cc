#include "router/routing/loop_stream.h"

#include <gtest/gtest.h>

#include <future>
#include <thread>

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

}  // namespace
}  // namespace octet::router
