// Requests over gRPC's callback API. Reads run on gRPC's threads, so that a busy event loop does not blur the
// times; the whole answer is handed to the event loop at the end.
#include <grpcpp/grpcpp.h>

#include <boost/asio/post.hpp>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "octet/v1/generation.grpc.pb.h"
#include "tools/bench/client.h"

namespace octet::bench {
namespace {

class Call : public grpc::ClientReadReactor<v1::GenerateResponse> {
 public:
  Call(boost::asio::io_context& loop, std::function<void(Answer)> on_answer)
      : loop_(loop), work_(loop.get_executor()), on_answer_(std::move(on_answer)) {}

  // Owns itself from here; freed after OnDone.
  void run(v1::Generation::Stub& stub, v1::GenerateRequest request, const std::string& api_key,
           Duration timeout) {
    request_ = std::move(request);
    if (!api_key.empty()) context_.AddMetadata("authorization", absl::StrCat("Bearer ", api_key));
    context_.set_deadline(std::chrono::system_clock::now() +
                          std::chrono::duration_cast<std::chrono::system_clock::duration>(timeout));
    stub.async()->Generate(&context_, &request_, this);
    StartRead(&response_);
    StartCall();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    if (response_.token_ids_size() > 0) {
      answer_.arrivals.push_back({now(), static_cast<uint32_t>(response_.token_ids_size())});
    }
    answer_.text += response_.text();
    if (response_.has_usage()) answer_.num_tokens = response_.usage().completion_tokens();
    StartRead(&response_);
  }

  void OnDone(const grpc::Status& status) override {
    answer_.end = now();
    if (!status.ok()) {
      const auto code = static_cast<absl::StatusCode>(status.error_code());
      answer_.failure = Failure{absl::StatusCodeToString(code), status.error_message()};
    } else if (!answer_.num_tokens) {
      answer_.failure = Failure{"malformed answer", "the stream ended without usage"};
    }
    boost::asio::post(loop_, [answer = std::move(answer_), on_answer = std::move(on_answer_)]() mutable {
      on_answer(std::move(answer));
    });
    delete this;
  }

 private:
  boost::asio::io_context& loop_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type>
      work_;  // the loop waits for the answer
  std::function<void(Answer)> on_answer_;
  grpc::ClientContext context_;
  v1::GenerateRequest request_;
  v1::GenerateResponse response_;
  Answer answer_;
};

class GrpcClient : public Client {
 public:
  GrpcClient(boost::asio::io_context& loop, const std::string& target, Caller caller)
      : loop_(loop), caller_(std::move(caller)) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    stub_ = v1::Generation::NewStub(
        grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments));
  }

  absl::Status check(const Prompt&) const override { return absl::OkStatus(); }

  void send(const Prompt& prompt, Duration timeout, std::function<void(Answer)> on_answer) override {
    v1::GenerateRequest request;
    request.set_model(caller_.model);
    if (prompt.messages.empty()) {
      request.set_text(*prompt.text);
    } else {
      for (const ChatMessage& message : prompt.messages) {
        v1::ChatMessage& entry = *request.mutable_chat()->add_messages();
        entry.set_role(message.role);
        entry.set_content(message.content);
      }
    }
    request.mutable_stop()->set_max_tokens(prompt.max_tokens);
    request.mutable_sampling()->set_temperature(static_cast<float>(prompt.temperature));
    if (prompt.seed) request.mutable_sampling()->set_seed(*prompt.seed);
    auto* call = new Call(loop_, std::move(on_answer));
    call->run(*stub_, std::move(request), caller_.api_key, timeout);
  }

 private:
  boost::asio::io_context& loop_;
  const Caller caller_;
  std::unique_ptr<v1::Generation::Stub> stub_;
};

}  // namespace

std::unique_ptr<Client> make_grpc_client(boost::asio::io_context& loop, const std::string& target,
                                         const Caller& caller) {
  return std::make_unique<GrpcClient>(loop, target, caller);
}

}  // namespace octet::bench
