// The gRPC API over a real channel, with a real generator and pool in front of a lead that the test plays.
#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/service_type.h>
#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <future>
#include <thread>

#include "base/status.h"
#include "octet/v1/generation.grpc.pb.h"
#include "router/api/apis.h"
#include "router/api/grpc_generate.h"
#include "router/generation/pipeline_generator.h"
#include "router/routing/pipeline_pool.h"
#include "tests/router/routing/fake_lead.h"

namespace octet::router {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::HasSubstr;
using testing::SizeIs;

class GrpcApiTest : public testing::Test {
 protected:
  GrpcApiTest() {
    std::promise<void> ready;
    PipelinePool::Options options;
    options.vocab_size = tokenizer_->vocab_size();
    options.client.silence_timeout = std::chrono::minutes(5);
    pool_.emplace(loop_, options, metrics_,
                  PipelinePool::Events{.on_change =
                                           [this, &ready, told = false]() mutable {
                                             if (pool_->num_ready() == 0) return;
                                             if (!std::exchange(told, true)) ready.set_value();
                                           },
                                       .on_room = [this] { generator_->on_room(); }});
    PipelineGenerator::Limits limits;
    limits.max_requests = 3;
    limits.max_sequences = 16;
    limits.moves.max_in_a_row = 0;  // what a pipeline fails is told, and not tried elsewhere
    generator_.emplace(loop_, *pool_, tokenizer_, metrics_, limits);
    thread_ = std::thread([this] { loop_.run(); });
    boost::asio::post(loop_, [this] { pool_->use({lead_->address()}); });
    OCTET_CHECK(ready.get_future().wait_for(std::chrono::seconds(30)) == std::future_status::ready,
                "no pipeline");

    ValidationContext validation{
        .tokenizer = tokenizer_,
        .chat_template = &chat_template_,
        .model = {.name = "nano", .max_model_len = 4096, .vocab_size = 1600, .backend = "cpu"},
        .limits = {}};
    context_.emplace(ServiceContext{.loop = loop_,
                                    .tokenizer = tokenizer_,
                                    .chat_template = chat_template_,
                                    .generator = *generator_,
                                    .metrics = metrics_,
                                    .validation = [validation] { return validation; }});
    api_ = make_grpc_api(*context_);
    GrpcServer::Options server_options;
    server_options.host = "127.0.0.1";
    server_ = GrpcServer::start(server_options, {api_.get()}).value();
    stub_ = v1::Generation::NewStub(channel());
  }
  ~GrpcApiTest() override {
    server_.reset();
    loop_.stop();
    thread_.join();
  }

  std::shared_ptr<grpc::Channel> channel(const grpc::ChannelArguments& arguments = {}) const {
    return grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(server_->port()),
                                     grpc::InsecureChannelCredentials(), arguments);
  }
  v1::GenerateRequest request() const {
    v1::GenerateRequest request;
    request.set_text("User");
    request.mutable_stop()->set_max_tokens(20);
    return request;
  }
  std::vector<TokenId> tokens_of(std::string_view text) const {
    return tokenizer_->encode_continuation(text);
  }
  TokenId end_of_turn() const { return tokenizer_->piece_id("<extra_id_1>").value(); }

  // Reads to the end of the call. Errors: the call's.
  static absl::StatusOr<std::vector<v1::GenerateResponse>> read_all(
      grpc::ClientReader<v1::GenerateResponse>& reader) {
    std::vector<v1::GenerateResponse> messages;
    v1::GenerateResponse message;
    while (reader.Read(&message)) messages.push_back(message);
    if (absl::Status status = from_grpc(reader.Finish()); !status.ok()) return status;
    return messages;
  }
  absl::Status refusal_of(const v1::GenerateRequest& bad) {
    grpc::ClientContext call;
    return read_all(*stub_->Generate(&call, bad)).status();
  }
  double count(const std::string& outcome) {
    const std::string text = prometheus::TextSerializer().Serialize(metrics_.registry()->Collect());
    const std::string name = "octet_requests_total{api=\"grpc\",outcome=\"" + outcome + "\"} ";
    const size_t at = text.find(name);
    OCTET_CHECK(at != std::string::npos, name);
    return std::stod(text.substr(at + name.size()));
  }

  const std::shared_ptr<const Tokenizer> tokenizer_ = Tokenizer::load("deploy/nano/tokenizer.model").value();
  const ChatTemplate chat_template_ = ChatTemplate::make(tokenizer_, ChatFormat::kNemotron4).value();
  // Of a call that has ended; empty when it has no such entry.
  static std::string trailer(const grpc::ClientContext& call, const std::string& name) {
    const auto found = call.GetServerTrailingMetadata().find(name);
    return found == call.GetServerTrailingMetadata().end()
               ? ""
               : std::string(found->second.data(), found->second.size());
  }

  std::unique_ptr<FakeLead> lead_ = std::make_unique<FakeLead>(FakeLead::ready_state());
  RouterMetrics metrics_;
  boost::asio::io_context loop_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{loop_.get_executor()};
  std::optional<PipelinePool> pool_;
  std::optional<PipelineGenerator> generator_;
  std::optional<ServiceContext> context_;
  std::unique_ptr<grpc::Service> api_;
  std::unique_ptr<GrpcServer> server_;
  std::unique_ptr<v1::Generation::Stub> stub_;
  std::thread thread_;
};

TEST_F(GrpcApiTest, StreamsTextAsItComes) {
  v1::GenerateRequest wanted = request();
  wanted.mutable_sampling()->set_seed(99);
  wanted.set_request_id("my-request");
  grpc::ClientContext call;
  const auto reader = stub_->Generate(&call, wanted);
  const v1::StartSequence start = lead_->started(0);
  EXPECT_EQ(start.sampling().seed(), 99U);
  EXPECT_EQ(start.max_tokens(), 20U);
  EXPECT_THAT(start.prompt_tokens(), ElementsAreArray(tokenizer_->encode("User")));

  lead_->send_tokens(start.sequence_id(), tokens_of(" Shall"));
  v1::GenerateResponse first;
  ASSERT_TRUE(reader->Read(&first));  // the lead has sent no more than this
  EXPECT_EQ(first.request_id(), "my-request");
  EXPECT_EQ(first.text(), " Shall");
  EXPECT_THAT(first.token_ids(), ElementsAreArray(tokens_of(" Shall")));
  EXPECT_EQ(first.seed(), 99U);
  EXPECT_EQ(first.finish_reason(), v1::FINISH_REASON_UNSPECIFIED);
  EXPECT_FALSE(first.has_usage());

  lead_->send_tokens(start.sequence_id(), {end_of_turn()}, v1::FINISH_REASON_STOP);
  const auto rest = read_all(*reader).value();
  ASSERT_THAT(rest, SizeIs(1));
  EXPECT_EQ(rest[0].text(), "");
  EXPECT_THAT(rest[0].token_ids(), ElementsAre(end_of_turn()));
  EXPECT_FALSE(rest[0].has_seed());
  EXPECT_EQ(rest[0].finish_reason(), v1::FINISH_REASON_STOP);
  EXPECT_EQ(rest[0].stop_reason(), "<extra_id_1>");
  EXPECT_EQ(rest[0].usage().prompt_tokens(), start.prompt_tokens_size());
  EXPECT_EQ(rest[0].usage().completion_tokens(), tokens_of(" Shall").size() + 1);
  EXPECT_EQ(count("ok"), 1);
  EXPECT_EQ(trailer(call, "x-request-id"), "my-request");
}

TEST_F(GrpcApiTest, EveryCallHasARequestIdInItsTrailer) {
  v1::TokenizeRequest wanted;
  wanted.set_text("a");
  v1::TokenizeResponse tokens;
  grpc::ClientContext given;
  given.AddMetadata("x-request-id", "from-metadata");
  EXPECT_TRUE(stub_->Tokenize(&given, wanted, &tokens).ok());
  EXPECT_EQ(trailer(given, "x-request-id"), "from-metadata");

  v1::ScoreRequest empty;
  v1::ScoreResponse scores;
  grpc::ClientContext refused;
  EXPECT_FALSE(stub_->Score(&refused, empty, &scores).ok());
  EXPECT_EQ(trailer(refused, "x-request-id").size(), 32U);

  grpc::ClientContext unusable;
  unusable.AddMetadata("x-request-id", "a b");
  v1::GenerateResponse message;
  const auto reader = stub_->Generate(&unusable, request());
  EXPECT_FALSE(reader->Read(&message));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(trailer(unusable, "x-request-id").size(), 32U);
}

TEST_F(GrpcApiTest, DrawnSeedAndRequestIdAreReturned) {
  grpc::ClientContext call;
  const auto reader = stub_->Generate(&call, request());
  const v1::StartSequence start = lead_->started(0);
  lead_->send_tokens(start.sequence_id(), tokens_of(" a"), v1::FINISH_REASON_LENGTH);
  const auto messages = read_all(*reader).value();
  ASSERT_THAT(messages, SizeIs(1));
  ASSERT_TRUE(messages[0].has_seed());
  EXPECT_EQ(messages[0].seed(), start.sampling().seed());
  EXPECT_NE(messages[0].request_id(), "");
  EXPECT_EQ(messages[0].finish_reason(), v1::FINISH_REASON_LENGTH);
  EXPECT_TRUE(messages[0].has_usage());
}

TEST_F(GrpcApiTest, ChoicesAreToldApartAndUsageComesLast) {
  v1::GenerateRequest wanted = request();
  wanted.set_n(2);
  grpc::ClientContext call;
  const auto reader = stub_->Generate(&call, wanted);
  std::map<uint32_t, uint64_t> ids;  // choice -> sequence
  for (size_t i = 0; i < 2; ++i) {
    const v1::StartSequence start = lead_->started(i);
    ids[start.sampling().choice_index()] = start.sequence_id();
  }
  ASSERT_THAT(ids, SizeIs(2));
  lead_->send_tokens(ids[1], tokens_of(" one"), v1::FINISH_REASON_LENGTH);
  v1::GenerateResponse first;
  ASSERT_TRUE(reader->Read(&first));  // although the other choice has not begun
  EXPECT_EQ(first.index(), 1U);
  EXPECT_EQ(first.text(), " one");
  EXPECT_EQ(first.finish_reason(), v1::FINISH_REASON_LENGTH);
  EXPECT_FALSE(first.has_usage());
  lead_->send_tokens(ids[0], tokens_of(" zero"), v1::FINISH_REASON_LENGTH);
  const auto rest = read_all(*reader).value();
  ASSERT_THAT(rest, SizeIs(1));
  EXPECT_EQ(rest[0].index(), 0U);
  EXPECT_EQ(rest[0].text(), " zero");
  EXPECT_EQ(rest[0].usage().completion_tokens(), tokens_of(" one").size() + tokens_of(" zero").size());
}

TEST_F(GrpcApiTest, LogprobsHaveTokensAsText) {
  v1::GenerateRequest wanted = request();
  wanted.mutable_token_ids()->add_ids(10);
  wanted.mutable_token_ids()->add_ids(11);
  wanted.set_logprobs(1);
  wanted.set_prompt_logprobs(0);
  grpc::ClientContext call;
  const auto reader = stub_->Generate(&call, wanted);
  v1::SequenceOutput output;
  output.set_sequence_id(lead_->started(0).sequence_id());
  output.add_prompt_logprobs()->set_token_id(11);
  output.mutable_prompt_logprobs(0)->set_logprob(-3);
  v1::ScoredToken& token = *output.add_tokens();
  token.set_token_id(tokens_of(" day")[0]);
  token.set_logprob(-0.25F);
  token.add_top_token_ids(tokenizer_->eos_id());
  token.add_top_logprobs(-0.125F);
  output.set_finish_reason(v1::FINISH_REASON_LENGTH);
  lead_->send(output);
  const auto messages = read_all(*reader).value();
  ASSERT_THAT(messages, SizeIs(2));
  ASSERT_THAT(messages[0].prompt_logprobs(), SizeIs(1));
  EXPECT_EQ(messages[0].prompt_logprobs(0).token_id(), 11U);
  EXPECT_EQ(messages[0].prompt_logprobs(0).logprob(), -3);
  EXPECT_TRUE(messages[0].has_seed());
  ASSERT_THAT(messages[1].logprobs(), SizeIs(1));
  EXPECT_EQ(messages[1].logprobs(0).token(), tokenizer_->bytes(tokens_of(" day")[0]));
  EXPECT_EQ(messages[1].logprobs(0).logprob(), -0.25F);
  ASSERT_THAT(messages[1].logprobs(0).top(), SizeIs(1));
  EXPECT_EQ(messages[1].logprobs(0).top(0).token(), "</s>");
  EXPECT_EQ(messages[1].logprobs(0).top(0).logprob(), -0.125F);
}

TEST_F(GrpcApiTest, CancelReachesTheLead) {
  grpc::ClientContext call;
  const auto reader = stub_->Generate(&call, request());
  const uint64_t id = lead_->started(0).sequence_id();
  lead_->send_tokens(id, tokens_of(" a"));
  v1::GenerateResponse message;
  ASSERT_TRUE(reader->Read(&message));
  call.TryCancel();
  lead_->await_cancelled(id);
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(GrpcApiTest, DeadlineOfTheCallReachesTheLead) {
  grpc::ClientContext call;
  call.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(300));
  const auto reader = stub_->Generate(&call, request());
  const v1::StartSequence start = lead_->started(0);
  EXPECT_GT(start.timeout_ms(), 0U);
  EXPECT_LE(start.timeout_ms(), 310U);  // gRPC rounds up
  EXPECT_EQ(read_all(*reader).status().code(), absl::StatusCode::kDeadlineExceeded);
  lead_->await_cancelled(start.sequence_id());
  server_.reset();                                       // ends when the call has ended
  EXPECT_EQ(count("deadline") + count("cancelled"), 1);  // the client's clock may run out first
}

TEST_F(GrpcApiTest, FarDeadlineIsCutToTheLongestTimeout) {
  grpc::ClientContext call;
  call.set_deadline(std::chrono::system_clock::now() + std::chrono::hours(1000));
  const auto reader = stub_->Generate(&call, request());
  const v1::StartSequence start = lead_->started(0);
  EXPECT_LE(start.timeout_ms(), 3600U * 1000);
  lead_->send_tokens(start.sequence_id(), tokens_of(" a"), v1::FINISH_REASON_LENGTH);
  EXPECT_TRUE(read_all(*reader).ok());
}

// A client's retry policy works only while no headers have come.
TEST_F(GrpcApiTest, HeadersAreHeldUntilTheFirstTokenSoThatClientsMayRetry) {
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(R"({"methodConfig": [{"name": [{"service": "octet.v1.Generation"}],
    "retryPolicy": {"maxAttempts": 2, "initialBackoff": "0.01s", "maxBackoff": "0.01s", "backoffMultiplier": 1,
                    "retryableStatusCodes": ["UNAVAILABLE"]}}]})");
  const auto retrying = v1::Generation::NewStub(channel(arguments));
  auto answer = std::async(std::launch::async, [&] {
    grpc::ClientContext call;
    return read_all(*retrying->Generate(&call, request()));
  });
  v1::SequenceOutput refusal;
  refusal.set_sequence_id(lead_->started(0).sequence_id());
  refusal.set_error_code(static_cast<int>(absl::StatusCode::kUnavailable));
  lead_->send(refusal);
  lead_->send_tokens(lead_->started(1).sequence_id(), tokens_of(" a"), v1::FINISH_REASON_LENGTH);
  const auto messages = answer.get();
  ASSERT_TRUE(messages.ok()) << messages.status();
  EXPECT_THAT(*messages, SizeIs(1));
  EXPECT_EQ(count("unavailable"), 1);
  EXPECT_EQ(count("ok"), 1);
}

TEST_F(GrpcApiTest, BadRequestsNameTheirField) {
  const auto bad = [&](auto change) {
    v1::GenerateRequest wanted = request();
    change(wanted);
    const absl::Status status = refusal_of(wanted);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    return field_of(status).value_or("no field: " + status.ToString());
  };
  EXPECT_EQ(bad([](auto& r) { r.clear_prompt(); }), "prompt");
  EXPECT_EQ(bad([](auto& r) { r.set_text(""); }), "prompt");
  EXPECT_EQ(bad([](auto& r) { r.mutable_token_ids()->add_ids(1600); }), "prompt");
  EXPECT_EQ(bad([](auto& r) { r.mutable_chat(); }), "messages");
  EXPECT_EQ(bad([](auto& r) { r.mutable_chat()->add_messages()->set_role("robot"); }), "messages[0].role");
  EXPECT_EQ(bad([](auto& r) { r.mutable_sampling()->set_temperature(NAN); }), "temperature");
  EXPECT_EQ(bad([](auto& r) { r.mutable_sampling()->set_temperature(-1); }), "temperature");
  EXPECT_EQ(bad([](auto& r) { r.mutable_sampling()->set_top_p(0); }), "top_p");
  EXPECT_EQ(bad([](auto& r) { (*r.mutable_sampling()->mutable_logit_bias())[1600] = 1; }), "logit_bias");
  EXPECT_EQ(bad([](auto& r) { r.mutable_sampling()->add_bad_words(""); }), "bad_words");
  EXPECT_EQ(bad([](auto& r) { r.mutable_stop()->set_max_tokens(0); }), "max_tokens");
  EXPECT_EQ(bad([](auto& r) { r.mutable_stop()->set_max_tokens(4096); }), "max_tokens");
  EXPECT_EQ(bad([](auto& r) { r.mutable_stop()->add_stop(""); }), "stop");
  EXPECT_EQ(bad([](auto& r) { r.mutable_stop()->add_stop_token_ids(1600); }), "stop_token_ids");
  EXPECT_EQ(bad([](auto& r) { r.set_n(0); }), "n");
  EXPECT_EQ(bad([](auto& r) { r.set_n(129); }), "n");
  EXPECT_EQ(bad([](auto& r) { r.set_logprobs(21); }), "logprobs");
  EXPECT_EQ(bad([](auto& r) { r.set_prompt_logprobs(21); }), "prompt_logprobs");
  EXPECT_EQ(bad([](auto& r) { r.set_request_id("a\nb"); }), "request_id");
  EXPECT_EQ(bad([](auto& r) { r.set_priority(-101); }), "priority");
  EXPECT_EQ(bad([](auto& r) { r.set_session(std::string(257, 's')); }), "session");
  EXPECT_EQ(bad([](auto& r) { r.mutable_structured_output()->set_json_schema("{"); }),
            "structured_output.json_schema");
  EXPECT_EQ(bad([](auto& r) { r.mutable_structured_output()->set_regex("(a"); }), "structured_output.regex");
  EXPECT_EQ(bad([](auto& r) { r.mutable_structured_output()->set_grammar(""); }),
            "structured_output.grammar");
  EXPECT_EQ(bad([](auto& r) { r.mutable_structured_output()->mutable_choices(); }),
            "structured_output.choices");
  EXPECT_EQ(bad([](auto& r) {
              r.mutable_structured_output()->set_json_object(true);
              r.mutable_stop()->set_ignore_eos(true);
            }),
            "ignore_eos");
  EXPECT_EQ(count("invalid"), 26);
  EXPECT_EQ(lead_->num_started(), 0U);
}

TEST_F(GrpcApiTest, OtherModelIsNotFound) {
  v1::GenerateRequest wanted = request();
  wanted.set_model("gpt");
  EXPECT_EQ(refusal_of(wanted).code(), absl::StatusCode::kNotFound);
}

TEST_F(GrpcApiTest, UnknownFieldsAreRefusedByNumber) {
  const auto add_unknown = [](google::protobuf::Message& message) {
    message.GetReflection()->MutableUnknownFields(&message)->AddVarint(77, 1);
  };
  v1::GenerateRequest wanted = request();
  add_unknown(wanted);
  absl::Status status = refusal_of(wanted);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("77"));

  wanted = request();
  add_unknown(*wanted.mutable_sampling());
  status = refusal_of(wanted);
  EXPECT_EQ(field_of(status), "sampling");
  EXPECT_THAT(std::string(status.message()), HasSubstr("77"));

  wanted.mutable_chat()->add_messages();
  wanted.clear_sampling();
  add_unknown(*wanted.mutable_chat()->add_messages());
  EXPECT_EQ(field_of(refusal_of(wanted)), "chat.messages[1]");

  v1::ListModelsRequest list;
  add_unknown(list);
  v1::ListModelsResponse models;
  grpc::ClientContext call;
  EXPECT_EQ(stub_->ListModels(&call, list, &models).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

// A client that does not check what it sends.
absl::Status send_bytes(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                        const std::string& bytes) {
  grpc::GenericStub stub(channel);
  const grpc::Slice slice(bytes);
  grpc::ClientContext call;
  grpc::CompletionQueue queue;
  const auto stream = stub.PrepareUnaryCall(&call, method, grpc::ByteBuffer(&slice, 1), &queue);
  stream->StartCall();
  grpc::ByteBuffer answer;
  grpc::Status status;
  stream->Finish(&answer, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) continue;
  return from_grpc(status);
}

TEST_F(GrpcApiTest, BrokenMessagesAreRefused) {
  for (const char* method : {"Generate", "Score", "Tokenize", "ListModels"}) {
    const absl::Status status =
        send_bytes(channel(), std::string("/octet.v1.Generation/") + method, "\xFF\xFF\xFF");
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_EQ(field_of(status), "request");
  }
  EXPECT_EQ(lead_->num_started(), 0U);
  v1::ListModelsResponse models;
  grpc::ClientContext call;
  EXPECT_TRUE(stub_->ListModels(&call, {}, &models).ok());  // and the server goes on
}

TEST_F(GrpcApiTest, TextThatIsNotUtf8IsRefusedByField) {
  const auto field = [&](const std::string& method, const std::string& bytes) {
    const absl::Status status = send_bytes(channel(), "/octet.v1.Generation/" + method, bytes);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("UTF-8"));
    return field_of(status).value_or("");
  };
  EXPECT_EQ(field("Generate", "\x12\x02\xFF\xFE"), "text");
  EXPECT_EQ(field("Score", "\x12\x02\xFF\xFE"), "text");
  // 4: chat, 1: messages, 2: content
  EXPECT_EQ(field("Generate", "\x22\x06\x0A\x04\x12\x02\xFF\xFE"), "chat.messages.content");
  EXPECT_EQ(lead_->num_started(), 0U);
}

TEST_F(GrpcApiTest, OverloadIsRefusedWithAHint) {
  std::vector<std::unique_ptr<grpc::ClientContext>> calls;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::GenerateResponse>>> readers;
  for (size_t i = 0; i < 3; ++i) {
    calls.push_back(std::make_unique<grpc::ClientContext>());
    readers.push_back(stub_->Generate(calls.back().get(), request()));
    lead_->started(i);
  }
  const absl::Status status = refusal_of(request());
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(retry_after_of(status));
  EXPECT_EQ(count("overloaded"), 1);
  for (const auto& call : calls) call->TryCancel();
  for (const auto& reader : readers) reader->Finish();
}

TEST_F(GrpcApiTest, LostPipelineIsUnavailableWithAHint) {
  grpc::ClientContext call;
  const auto reader = stub_->Generate(&call, request());
  lead_->send_tokens(lead_->started(0).sequence_id(), tokens_of(" a"));
  v1::GenerateResponse message;
  ASSERT_TRUE(reader->Read(&message));
  lead_.reset();
  absl::Status status = read_all(*reader).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(retry_after_of(status));
  status = refusal_of(request());  // and none is left for the next
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(retry_after_of(status));
}

TEST_F(GrpcApiTest, ClientThatDoesNotReadIsCancelled) {
  v1::GenerateRequest wanted = request();
  wanted.mutable_stop()->set_max_tokens(4000);
  wanted.set_logprobs(20);
  wanted.set_n(16);
  grpc::ClientContext call;
  const auto reader = stub_->Generate(&call, wanted);
  std::vector<uint64_t> ids;
  for (size_t i = 0; i < 16; ++i) ids.push_back(lead_->started(i).sequence_id());
  // About 30 MB, many times what queue and windows hold.
  v1::SequenceOutput output;
  for (int i = 0; i < 200; ++i) {
    v1::ScoredToken& token = *output.add_tokens();
    token.set_token_id(tokens_of(" day")[0]);
    for (uint32_t k = 0; k < 20; ++k) {
      token.add_top_token_ids(300 + k);
      token.add_top_logprobs(-1);
    }
  }
  for (int round = 0; round < 20; ++round) {
    for (const uint64_t id : ids) {
      output.set_sequence_id(id);
      if (!lead_->was_cancelled(id)) lead_->send(output);
    }
  }
  for (const uint64_t id : ids) lead_->await_cancelled(id);
  EXPECT_EQ(read_all(*reader).status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(count("cancelled"), 1);
}

TEST_F(GrpcApiTest, ShutdownEndsOpenCalls) {
  grpc::ClientContext call;
  const auto reader = stub_->Generate(&call, request());
  const uint64_t id = lead_->started(0).sequence_id();
  server_->shutdown(std::chrono::milliseconds(0));
  EXPECT_FALSE(read_all(*reader).ok());
  lead_->await_cancelled(id);
}

TEST_F(GrpcApiTest, ScoreReturnsPromptLogprobsOnly) {
  v1::ScoreRequest wanted;
  wanted.mutable_token_ids()->add_ids(10);
  wanted.mutable_token_ids()->add_ids(11);
  wanted.set_top_logprobs(1);
  auto answer = std::async(std::launch::async, [&] {
    grpc::ClientContext call;
    v1::ScoreResponse response;
    const grpc::Status status = stub_->Score(&call, wanted, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  });
  const v1::StartSequence start = lead_->started(0);
  EXPECT_EQ(start.sampling().prompt_logprobs(), 1U);
  EXPECT_EQ(start.max_tokens(), 1U);
  v1::SequenceOutput output;
  output.set_sequence_id(start.sequence_id());
  v1::ScoredToken& scored = *output.add_prompt_logprobs();
  scored.set_token_id(11);
  scored.set_logprob(-1.5F);
  scored.add_top_token_ids(12);
  scored.add_top_logprobs(-0.5F);
  output.add_tokens()->set_token_id(20);
  output.set_finish_reason(v1::FINISH_REASON_LENGTH);
  lead_->send(output);
  const v1::ScoreResponse response = answer.get();
  ASSERT_THAT(response.logprobs(), SizeIs(1));
  EXPECT_EQ(response.logprobs(0).token_id(), 11U);
  EXPECT_EQ(response.logprobs(0).logprob(), -1.5F);
  EXPECT_EQ(response.logprobs(0).top(0).token_id(), 12U);
  EXPECT_EQ(response.usage().prompt_tokens(), 2U);
  EXPECT_EQ(response.usage().completion_tokens(), 0U);
  EXPECT_EQ(count("ok"), 1);
}

TEST_F(GrpcApiTest, ScoreOfNothingIsRefused) {
  grpc::ClientContext call;
  v1::ScoreResponse response;
  const absl::Status status = from_grpc(stub_->Score(&call, {}, &response));
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(field_of(status), "prompt");
}

TEST_F(GrpcApiTest, ScoreDeadlineCancelsAtTheLead) {
  v1::ScoreRequest wanted;
  wanted.set_text("Shall I compare thee");
  grpc::ClientContext call;
  call.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(200));
  v1::ScoreResponse response;
  EXPECT_EQ(stub_->Score(&call, wanted, &response).error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  lead_->await_cancelled(lead_->started(0).sequence_id());
}

TEST_F(GrpcApiTest, TokenizesTextAndChats) {
  v1::TokenizeRequest wanted;
  wanted.set_text("Shall I compare thee");
  v1::TokenizeResponse response;
  grpc::ClientContext text_call;
  ASSERT_TRUE(stub_->Tokenize(&text_call, wanted, &response).ok());
  EXPECT_THAT(response.token_ids(), ElementsAreArray(tokenizer_->encode("Shall I compare thee")));
  EXPECT_THAT(response.tokens(), SizeIs(response.token_ids_size()));
  EXPECT_EQ(response.max_model_len_tokens(), 4096U);

  wanted.mutable_chat()->add_messages()->set_role("user");
  wanted.mutable_chat()->mutable_messages(0)->set_content("Hello");
  grpc::ClientContext chat_call;
  ASSERT_TRUE(stub_->Tokenize(&chat_call, wanted, &response).ok());
  EXPECT_THAT(response.token_ids(), ElementsAreArray(chat_template_.render({{"user", "Hello"}}).value()));

  wanted.Clear();
  grpc::ClientContext empty_call;
  const absl::Status status = from_grpc(stub_->Tokenize(&empty_call, wanted, &response));
  EXPECT_EQ(field_of(status), "prompt");
}

TEST_F(GrpcApiTest, ListsTheModel) {
  v1::ListModelsResponse response;
  grpc::ClientContext call;
  ASSERT_TRUE(stub_->ListModels(&call, {}, &response).ok());
  ASSERT_THAT(response.models(), SizeIs(1));
  EXPECT_EQ(response.models(0).name(), "nano");
  EXPECT_EQ(response.models(0).max_model_len_tokens(), 4096U);
  EXPECT_EQ(response.models(0).vocab_size(), 1600U);
  EXPECT_EQ(response.models(0).backend(), "cpu");
}

}  // namespace
}  // namespace octet::router
