#include "worker/rpc/server_stream.h"

#include <gtest/gtest.h>

#include <future>

#include "base/grpc_server.h"
#include "octet/v1/pipeline.grpc.pb.h"

namespace octet::worker {
namespace {

constexpr size_t kMaxBytes = 1 << 20;

using Stream = ServerStream<grpc::ServerWriteReactor<v1::WatchResponse>, v1::WatchResponse>;

// Gives the test the server's half of a Watch stream.
class StreamService : public v1::Pipeline::CallbackService {
 public:
  grpc::ServerWriteReactor<v1::WatchResponse>* Watch(grpc::CallbackServerContext* context,
                                                     const v1::WatchRequest*) override {
    auto stream = std::make_shared<Stream>(context, kMaxBytes);
    stream->open();
    opened.set_value(stream);
    return stream.get();
  }
  std::promise<std::shared_ptr<Stream>> opened;
};

class ServerStreamTest : public testing::Test {
 protected:
  void SetUp() override {
    GrpcServer::Options options;
    options.host = "127.0.0.1";
    server_ = GrpcServer::start(options, {&service_}).value();
    stub_ = v1::Pipeline::NewStub(internal_channel("127.0.0.1:" + std::to_string(server_->port())));
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    client_ = stub_->Watch(&context_, {});
    stream_ = service_.opened.get_future().get();
  }

  static v1::WatchResponse message(uint64_t number, size_t num_bytes = 0) {
    v1::WatchResponse response;
    response.set_sequence_number(number);
    response.mutable_model()->set_name(std::string(num_bytes, 'x'));
    return response;
  }

  StreamService service_;
  std::unique_ptr<GrpcServer> server_;
  std::unique_ptr<v1::Pipeline::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::WatchResponse>> client_;
  std::shared_ptr<Stream> stream_;
};

TEST_F(ServerStreamTest, MessagesArriveInOrder) {
  for (uint64_t i = 0; i < 1000; ++i) ASSERT_TRUE(stream_->push(message(i)));
  v1::WatchResponse got;
  for (uint64_t i = 0; i < 1000; ++i) {
    ASSERT_TRUE(client_->Read(&got));
    EXPECT_EQ(got.sequence_number(), i);
  }
  stream_->finish(grpc::Status(grpc::StatusCode::ABORTED, "why"));
  EXPECT_FALSE(client_->Read(&got));
  EXPECT_EQ(client_->Finish().error_code(), grpc::StatusCode::ABORTED);
  EXPECT_FALSE(stream_->push(message(0)));
}

TEST_F(ServerStreamTest, OneMessageMayBeLargerThanTheLimit) {
  ASSERT_TRUE(stream_->push(message(1, 3 * kMaxBytes)));
  v1::WatchResponse got;
  ASSERT_TRUE(client_->Read(&got));
  EXPECT_EQ(got.model().name().size(), 3 * kMaxBytes);
}

TEST_F(ServerStreamTest, APeerThatDoesNotReadIsCutOff) {
  constexpr size_t kBytes = 100'000;
  size_t taken = 0;
  // What gRPC and the kernel take before the peer reads is some megabytes at most.
  while (taken < 1000 && stream_->push(message(taken, kBytes))) ++taken;
  EXPECT_GE(taken, kMaxBytes / kBytes);
  EXPECT_LT(taken, 1000u);
  EXPECT_FALSE(stream_->push(message(0)));
  v1::WatchResponse got;
  while (client_->Read(&got)) {
  }
  EXPECT_FALSE(client_->Finish().ok());
}

TEST_F(ServerStreamTest, APeerThatIsGoneIsNoticed) {
  context_.TryCancel();
  v1::WatchResponse got;
  while (client_->Read(&got)) {
  }
  EXPECT_EQ(client_->Finish().error_code(), grpc::StatusCode::CANCELLED);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (stream_->push(message(0)) && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_FALSE(stream_->push(message(0)));
}

}  // namespace
}  // namespace octet::worker
