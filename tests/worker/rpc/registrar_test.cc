#include "worker/rpc/registrar.h"

#include <gtest/gtest.h>

#include <future>

#include "base/grpc_server.h"
#include "octet/v1/stage.grpc.pb.h"

namespace octet::worker {
namespace {

// A lead that answers registrations as it is told.
class FakeLead : public v1::Registry::Service {
 public:
  explicit FakeLead(const grpc::Status& answer) : answer_(answer) {}
  grpc::Status Register(grpc::ServerContext*, const v1::RegisterRequest* request,
                        v1::RegisterResponse*) override {
    if (num_calls_++ == 0) first_.set_value(*request);
    if (num_calls_ == 2) second_.set_value();
    return answer_;
  }
  v1::RegisterRequest wait_for_first() { return first_.get_future().get(); }
  void wait_for_second() { second_.get_future().wait(); }

 private:
  const grpc::Status answer_;
  std::atomic<int> num_calls_{0};
  std::promise<v1::RegisterRequest> first_;
  std::promise<void> second_;
};

Registration registration() {
  Registration registration;
  registration.description.stage = 1;
  registration.description.incarnation = 42;
  registration.stage_address = "a:1";
  registration.link_address = "a:2";
  return registration;
}

class RegistrarTest : public testing::Test {
 protected:
  void serve(FakeLead& lead) {
    GrpcServer::Options options;
    options.host = "127.0.0.1";
    server_ = GrpcServer::start(options, {&lead}).value();
    address_ = "127.0.0.1:" + std::to_string(server_->port());
  }
  std::unique_ptr<GrpcServer> server_;
  std::string address_;
};

TEST_F(RegistrarTest, TellsWhatTheStageHoldsAndRepeatsIt) {
  FakeLead lead(grpc::Status::OK);
  serve(lead);
  Registrar registrar(
      address_, nullptr, [] { return true; }, registration);
  EXPECT_EQ(lead.wait_for_first().description().incarnation(), 42u);
  registrar.wake();
  lead.wait_for_second();
  EXPECT_FALSE(registrar.refusal());
}

TEST_F(RegistrarTest, SaysNothingWhileItIsNotNeeded) {
  FakeLead lead(grpc::Status::OK);
  serve(lead);
  std::atomic<bool> needed{false};
  std::promise<void> asked;
  std::atomic<bool> told{false};
  Registrar registrar(
      address_, nullptr,
      [&] {
        if (!told.exchange(true)) asked.set_value();
        return needed.load();
      },
      registration);
  asked.get_future().wait();
  needed = true;
  registrar.wake();
  lead.wait_for_first();
}

TEST_F(RegistrarTest, StopsWhenTheLeadRefusesTheStage) {
  FakeLead lead(grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, "stage 1 has --tp 2, the lead 1"));
  serve(lead);
  Registrar registrar(
      address_, nullptr, [] { return true; }, registration);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!registrar.refusal() && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  ASSERT_TRUE(registrar.refusal());
  EXPECT_EQ(std::string(registrar.refusal()->message()),
            "the lead refused this stage: stage 1 has --tp 2, the lead 1");
}

TEST_F(RegistrarTest, EndsAtOnceWhileNoLeadAnswers) {
  std::promise<void> asked;
  std::atomic<bool> told{false};
  Registrar registrar(
      "127.0.0.1:9", nullptr, [] { return true; },
      [&] {
        if (!told.exchange(true)) asked.set_value();
        return registration();
      });
  asked.get_future().wait();
}

}  // namespace
}  // namespace octet::worker
