// octet-router as a process, in front of a lead that the test plays.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <boost/asio.hpp>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>

#include "base/status.h"
#include "octet/v1/generation.grpc.pb.h"
#include "tests/router/process/child_process.h"
#include "tests/router/routing/fake_lead.h"

namespace octet::router {
namespace {

using testing::HasSubstr;

int port_at_end(const std::string& line) {
  return std::stoi(line.substr(line.rfind(':') + 1));
}

// The status of a GET.
int http_get(int port, const std::string& path) {
  boost::asio::io_context loop;
  boost::asio::ip::tcp::socket socket(loop);
  socket.connect({boost::asio::ip::make_address("127.0.0.1"), static_cast<uint16_t>(port)});
  boost::asio::write(
      socket, boost::asio::buffer("GET " + path + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
  std::string answer;
  boost::system::error_code error;
  boost::asio::read(socket, boost::asio::dynamic_buffer(answer), error);
  return std::stoi(answer.substr(answer.find(' ') + 1));
}

class RouterProcessTest : public testing::Test {
 protected:
  RouterProcessTest() : folder_(testing::TempDir() + "router_process_test." + std::to_string(getpid())) {
    std::filesystem::create_directories(folder_);
  }
  ~RouterProcessTest() override { std::filesystem::remove_all(folder_); }

  std::string port_file() const { return folder_ + "/ports.json"; }
  std::vector<std::string> command(const std::map<std::string, std::string>& changed) const {
    std::map<std::string, std::string> flags = {{"--tokenizer", "deploy/nano/tokenizer.model"},
                                                {"--host", "127.0.0.1"},
                                                {"--grpc-port", "0"},
                                                {"--http-port", "0"},
                                                {"--metrics-port", "0"},
                                                {"--port-file", port_file()}};
    for (const auto& [name, value] : changed) flags[name] = value;
    std::vector<std::string> words = {OCTET_ROUTER_BINARY};
    for (const auto& [name, value] : flags) words.insert(words.end(), {name, value});
    return words;
  }
  int port(const std::string& name) const {
    std::ifstream file(port_file());
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    std::smatch match;
    OCTET_CHECK(std::regex_search(text, match, std::regex("\"" + name + "\": ([0-9]+)")), text);
    return std::stoi(match[1]);
  }
  std::unique_ptr<v1::Generation::Stub> stub() const {
    return v1::Generation::NewStub(grpc::CreateChannel("127.0.0.1:" + std::to_string(port("grpc_port")),
                                                       grpc::InsecureChannelCredentials()));
  }
  static v1::GenerateRequest request() {
    v1::GenerateRequest request;
    request.set_text("User");
    return request;
  }

  const std::string folder_;
};

TEST_F(RouterProcessTest, OpensTheApisWhenThePipelineIsReady) {
  v1::WatchResponse state = FakeLead::ready_state();
  state.set_state(v1::PIPELINE_STATE_FORMING);
  FakeLead lead(state);
  ChildProcess router(command({{"--pipeline", lead.address()}}));
  const auto metrics_line = router.find_line("metrics on ");
  ASSERT_TRUE(metrics_line) << router.output();
  ASSERT_TRUE(router.find_line("waiting for a pipeline"));
  const int metrics_port = port_at_end(*metrics_line);
  EXPECT_EQ(http_get(metrics_port, "/live"), 200);
  EXPECT_EQ(http_get(metrics_port, "/ready"), 503);
  EXPECT_FALSE(std::filesystem::exists(port_file()));

  lead.set_state(FakeLead::ready_state());
  ASSERT_TRUE(router.find_line("ports written")) << router.output();
  EXPECT_EQ(port("metrics_port"), metrics_port);
  EXPECT_EQ(http_get(metrics_port, "/ready"), 200);
  EXPECT_EQ(http_get(metrics_port, "/metrics"), 200);
  EXPECT_EQ(http_get(port("http_port"), "/v1/models"), 200);
  v1::ListModelsResponse models;
  grpc::ClientContext call;
  ASSERT_TRUE(stub()->ListModels(&call, {}, &models).ok());
  EXPECT_EQ(models.models(0).name(), "nano");

  router.signal(SIGTERM);
  EXPECT_EQ(router.wait(), 0) << router.output();
}

TEST_F(RouterProcessTest, SigtermBeforeAPipelineIsReadyExits) {
  ChildProcess router(command({{"--pipeline", "127.0.0.1:1"}}));
  ASSERT_TRUE(router.find_line("waiting for a pipeline"));
  router.signal(SIGTERM);
  EXPECT_EQ(router.wait(), 0);
}

TEST_F(RouterProcessTest, SigtermLetsRunningRequestsFinishAndRefusesNewOnes) {
  FakeLead lead(FakeLead::ready_state());
  ChildProcess router(command({{"--pipeline", lead.address()}}));
  ASSERT_TRUE(router.find_line("ports written"));
  const auto client = stub();
  grpc::ClientContext call;
  const auto reader = client->Generate(&call, request());
  const uint64_t id = lead.started(0).sequence_id();

  router.signal(SIGTERM);
  ASSERT_TRUE(router.find_line("draining"));
  EXPECT_EQ(http_get(port("metrics_port"), "/ready"), 503);
  EXPECT_EQ(http_get(port("metrics_port"), "/live"), 200);
  grpc::ClientContext late_call;
  const absl::Status late = from_grpc(client->Generate(&late_call, request())->Finish());
  EXPECT_EQ(late.code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(retry_after_of(late));

  lead.send_tokens(id, {500}, v1::FINISH_REASON_LENGTH);
  v1::GenerateResponse message;
  ASSERT_TRUE(reader->Read(&message));
  EXPECT_EQ(message.finish_reason(), v1::FINISH_REASON_LENGTH);
  EXPECT_FALSE(reader->Read(&message));
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(router.wait(), 0) << router.output();
}

TEST_F(RouterProcessTest, DrainTimeoutCutsRequestsOff) {
  FakeLead lead(FakeLead::ready_state());
  ChildProcess router(command({{"--pipeline", lead.address()}, {"--drain-timeout", "50ms"}}));
  ASSERT_TRUE(router.find_line("ports written"));
  const auto client = stub();
  grpc::ClientContext call;
  const auto reader = client->Generate(&call, request());
  boost::asio::io_context loop;
  boost::asio::ip::tcp::socket http(loop);
  http.connect({boost::asio::ip::make_address("127.0.0.1"), static_cast<uint16_t>(port("http_port"))});
  const std::string body = R"({"prompt": "User", "stream": true})";
  boost::asio::write(http,
                     boost::asio::buffer("POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: " +
                                         std::to_string(body.size()) + "\r\n\r\n" + body));
  lead.started(1);
  router.signal(SIGTERM);
  EXPECT_FALSE(reader->Finish().ok());
  EXPECT_EQ(router.wait(), 0) << router.output();
}

TEST_F(RouterProcessTest, StartUpErrorsAreOneLineAndExitCode1) {
  boost::asio::io_context loop;
  boost::asio::ip::tcp::acceptor taken(loop, {boost::asio::ip::make_address("127.0.0.1"), 0});
  const std::string port = std::to_string(taken.local_endpoint().port());
  const auto expect_error = [&](const std::string& flag, const std::string& value, const std::string& text) {
    std::map<std::string, std::string> flags = {{"--pipeline", "127.0.0.1:1"}};
    flags[flag] = value;
    ChildProcess router(command(flags));
    EXPECT_EQ(router.wait(), 1) << flag;
    EXPECT_THAT(router.output(), HasSubstr(text));
    EXPECT_EQ(router.output().find('\n'), router.output().size() - 1) << router.output();
  };
  expect_error("--pipeline", "nowhere", "nowhere");
  expect_error("--tokenizer", "deploy/nano/nothing.model", "deploy/nano/nothing.model");
  expect_error("--tokenizer", "deploy/nano/config.json", "deploy/nano/config.json");
  expect_error("--chat-format", "alpaca", "--chat-format");
  expect_error("--grpc-port", port, port);
  expect_error("--http-port", port, port);
  expect_error("--metrics-port", port, port);
  expect_error("--max-requests", "0", "--max-requests");
  expect_error("--no-such-flag", "1", "--no-such-flag");
}

TEST_F(RouterProcessTest, PortFileThatCannotBeWrittenEndsTheProcess) {
  FakeLead lead(FakeLead::ready_state());
  ChildProcess router(
      command({{"--pipeline", lead.address()}, {"--port-file", folder_ + "/no/such/folder/ports"}}));
  EXPECT_EQ(router.wait(), 1);
  EXPECT_THAT(router.output(), HasSubstr("--port-file"));
}

}  // namespace
}  // namespace octet::router
