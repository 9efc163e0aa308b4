#include "base/grpc_server.h"

#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <future>

#include "octet/v1/generation.grpc.pb.h"
#include "octet/v1/pipeline.grpc.pb.h"

namespace octet {
namespace {

// grpc.health.v1 and reflection as any client calls them: by name, with messages written by hand, since
// Debian ships neither's generated code.
std::string field(int number, const std::string& text) {
  std::string out(1, static_cast<char>(number << 3 | 2));
  out += static_cast<char>(text.size());
  return out + text;
}

class GrpcServerTest : public testing::Test {
 protected:
  void SetUp() override {
    GrpcServer::Options options;
    options.host = "127.0.0.1";
    auto server = GrpcServer::start(options, {&service_});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    channel_ = internal_channel("127.0.0.1:" + std::to_string(server_->port()));
  }

  // The status of a service: 1 serving, 2 not serving; -1 when the server does not know it.
  int health(const std::string& service) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    const std::string bytes = field(1, service);
    grpc::Slice slice(bytes);
    grpc::ByteBuffer request(&slice, 1);
    grpc::ByteBuffer response;
    std::promise<grpc::Status> done;
    grpc::GenericStub(channel_).UnaryCall(&context, "/grpc.health.v1.Health/Check", grpc::StubOptions(),
                                          &request, &response,
                                          [&](const grpc::Status& status) { done.set_value(status); });
    const grpc::Status status = done.get_future().get();
    if (status.error_code() == grpc::StatusCode::NOT_FOUND) return -1;
    EXPECT_TRUE(status.ok()) << status.error_message();
    grpc::Slice answer;
    EXPECT_TRUE(response.DumpToSingleSlice(&answer).ok());
    return answer.size() == 2 ? answer.begin()[1] : 0;
  }

  v1::Pipeline::Service service_;  // answers UNIMPLEMENTED
  std::unique_ptr<GrpcServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

TEST_F(GrpcServerTest, IsLiveFromTheStartAndReadyWhenSet) {
  EXPECT_EQ(health(""), 1);
  EXPECT_EQ(health("live"), 1);
  EXPECT_EQ(health("ready"), 2);
  EXPECT_EQ(health("progress"), 2);
  EXPECT_EQ(health("nonsense"), -1);
  server_->set_serving("ready", true);
  EXPECT_EQ(health("ready"), 1);
  server_->set_serving("ready", false);
  EXPECT_EQ(health("ready"), 2);
}

TEST_F(GrpcServerTest, ListsItsServicesByReflection) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  grpc::internal::RpcMethod method("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                                   grpc::internal::RpcMethod::BIDI_STREAMING);
  const std::unique_ptr<grpc::ClientReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>> stream(
      grpc::internal::ClientReaderWriterFactory<grpc::ByteBuffer, grpc::ByteBuffer>::Create(
          channel_.get(), method, &context));
  const std::string list_services = field(7, "*");
  grpc::Slice slice(list_services);
  ASSERT_TRUE(stream->Write(grpc::ByteBuffer(&slice, 1)));
  grpc::ByteBuffer response;
  ASSERT_TRUE(stream->Read(&response));
  grpc::Slice answer;
  ASSERT_TRUE(response.DumpToSingleSlice(&answer).ok());
  const std::string text(reinterpret_cast<const char*>(answer.begin()), answer.size());
  EXPECT_NE(text.find("octet.v1.Pipeline"), std::string::npos);
  EXPECT_NE(text.find("grpc.health.v1.Health"), std::string::npos);
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(GrpcServerTest, ATakenPortIsAnErrorThatNamesIt) {
  GrpcServer::Options options;
  options.host = "127.0.0.1";
  options.port = server_->port();
  v1::Generation::Service other;
  const auto second = GrpcServer::start(options, {&other});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  const std::string text(second.status().message());
  EXPECT_NE(text.find("127.0.0.1:" + std::to_string(server_->port())), std::string::npos) << text;
  EXPECT_NE(text.find("in use"), std::string::npos) << text;
}

TEST_F(GrpcServerTest, AHostThatIsNoneIsAnErrorThatNamesIt) {
  GrpcServer::Options options;
  options.host = "no.such.host.invalid";
  const auto server = GrpcServer::start(options, {&service_});
  ASSERT_FALSE(server.ok());
  EXPECT_NE(std::string(server.status().message()).find("no.such.host.invalid"), std::string::npos);
}

TEST_F(GrpcServerTest, RefusesAMessageOverTheLimit) {
  GrpcServer::Options options;
  options.host = "127.0.0.1";
  options.max_message_bytes = 1000;
  v1::Generation::Service generation;
  const auto server = GrpcServer::start(options, {&generation});
  ASSERT_TRUE(server.ok());
  const auto stub =
      v1::Generation::NewStub(internal_channel("127.0.0.1:" + std::to_string((*server)->port())));
  for (const auto& [bytes, code] : {std::pair(500, grpc::StatusCode::UNIMPLEMENTED),
                                    std::pair(5000, grpc::StatusCode::RESOURCE_EXHAUSTED)}) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    v1::TokenizeRequest request;
    v1::TokenizeResponse response;
    request.set_text(std::string(static_cast<size_t>(bytes), 'x'));
    EXPECT_EQ(stub->Tokenize(&context, request, &response).error_code(), code) << bytes;
  }
}

}  // namespace
}  // namespace octet
