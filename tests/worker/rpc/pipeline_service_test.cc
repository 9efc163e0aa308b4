// A real lead and real later stages over loopback: what a router sees of them.
#include "worker/rpc/pipeline_service.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/prefix_hash.h"
#include "base/wire_version.h"
#include "octet/v1/pipeline.grpc.pb.h"
#include "tests/worker/rpc/workers.h"
#include "tests/worker/stage/golden_cases.h"

namespace octet::worker {
namespace {

constexpr TokenId kEndOfSequence = 3;

v1::StartSequence start(uint64_t id, const std::vector<TokenId>& prompt, uint32_t max_tokens) {
  v1::StartSequence message;
  message.set_sequence_id(id);
  message.mutable_prompt_tokens()->Add(prompt.begin(), prompt.end());
  message.set_max_tokens(max_tokens);
  message.mutable_sampling()->set_top_p(1);
  message.mutable_sampling()->set_repetition_penalty(1);
  return message;
}

// A router's Submit stream.
class Router {
 public:
  explicit Router(const std::string& address) : stub_(v1::Pipeline::NewStub(internal_channel(address))) {
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    stream_ = stub_->Submit(&context_);
  }
  ~Router() { context_.TryCancel(); }

  bool send(const v1::StartSequence& sequence) {
    v1::SubmitRequest request;
    *request.mutable_start() = sequence;
    return stream_->Write(request);
  }
  bool send(const v1::SubmitRequest& request) { return stream_->Write(request); }

  // The end of a sequence; its tokens before that are kept. Nothing when the stream ends.
  std::optional<v1::SequenceOutput> read_to_end_of(uint64_t id) {
    while (!ends_.contains(id)) {
      v1::SubmitResponse response;
      if (!stream_->Read(&response)) return std::nullopt;
      for (const v1::SequenceOutput& output : response.outputs()) {
        for (const v1::ScoredToken& token : output.tokens())
          tokens_[output.sequence_id()].push_back(token.token_id());
        if (output.finish_reason() != 0 || output.error_code() != 0) ends_[output.sequence_id()] = output;
      }
    }
    return ends_[id];
  }
  const std::vector<TokenId>& tokens(uint64_t id) { return tokens_[id]; }
  grpc::Status finish() {
    v1::SubmitResponse rest;
    while (stream_->Read(&rest)) {
    }
    return stream_->Finish();
  }
  v1::Pipeline::Stub& stub() { return *stub_; }

 private:
  std::unique_ptr<v1::Pipeline::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::SubmitRequest, v1::SubmitResponse>> stream_;
  std::map<uint64_t, v1::SequenceOutput> ends_;
  std::map<uint64_t, std::vector<TokenId>> tokens_;
};

// Starts every golden case at once and compares the tokens.
void expect_golden(Router& router) {
  const std::vector<GoldenCase> cases = read_golden_cases();
  for (size_t i = 0; i < cases.size(); ++i) {
    v1::StartSequence sequence = start(i, cases[i].prompt, static_cast<uint32_t>(cases[i].output.size()));
    ASSERT_TRUE(router.send(sequence));
  }
  for (size_t i = 0; i < cases.size(); ++i) {
    ASSERT_TRUE(router.read_to_end_of(i)) << i;
    EXPECT_EQ(router.tokens(i), cases[i].output) << i;
  }
}

class PipelineStagesTest : public testing::TestWithParam<int> {};

TEST_P(PipelineStagesTest, GreedyAnswersAreTheGoldenOnes) {
  const auto workers = start_pipeline(GetParam());
  Router router(workers[0]->address());
  expect_golden(router);
}

INSTANTIATE_TEST_SUITE_P(Stages, PipelineStagesTest, testing::Values(1, 2, 4));

TEST(PipelineServiceTest, AStageThatRestartsIsTakenBackAndTheTokensStayTheSame) {
  auto workers = start_pipeline(2);
  Router router(workers[0]->address());
  const GoldenCase golden = read_golden_cases().at(0);
  // Long enough that the restart falls into it: the end tokens do not stop it.
  ASSERT_TRUE(router.send(start(1, golden.prompt, 1500)));
  Router undisturbed(workers[0]->address());
  ASSERT_TRUE(undisturbed.send(start(1, golden.prompt, static_cast<uint32_t>(golden.output.size()))));
  ASSERT_TRUE(undisturbed.read_to_end_of(1));
  workers[1].reset();
  workers[1] = std::make_unique<RunningWorker>(nano_worker(1, 2, workers[0]->address()));
  ASSERT_TRUE(router.read_to_end_of(1));
  const std::vector<TokenId> with_restart = router.tokens(1);
  EXPECT_EQ(with_restart.size(), 1500u);
  EXPECT_GE(workers[0]->metrics().epochs_ended.Value(), 1);
  Router after(workers[0]->address());
  ASSERT_TRUE(after.send(start(1, golden.prompt, 1500)));
  ASSERT_TRUE(after.read_to_end_of(1));
  EXPECT_EQ(after.tokens(1), with_restart);
}

TEST(PipelineServiceTest, ABadSequenceIsAnsweredAndTheStreamGoesOn) {
  const auto workers = start_pipeline(1);
  Router router(workers[0]->address());
  v1::StartSequence bad = start(1, {5, 6}, 10);
  bad.mutable_sampling()->set_temperature(std::numeric_limits<float>::quiet_NaN());
  ASSERT_TRUE(router.send(bad));
  const auto refused = router.read_to_end_of(1);
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->error_code(), 3);
  EXPECT_NE(refused->error_message().find("sampling.temperature"), std::string::npos);
  ASSERT_TRUE(router.send(start(2, std::vector<TokenId>(5000, 1), 10)));
  EXPECT_EQ(router.read_to_end_of(2)->error_code(), 3);
  ASSERT_TRUE(router.send(start(3, {5, 6}, 10)));
  EXPECT_EQ(router.read_to_end_of(3)->finish_reason(), v1::FINISH_REASON_LENGTH);
}

TEST(PipelineServiceTest, AMessageWithoutAnActionEndsTheStream) {
  const auto workers = start_pipeline(1);
  Router router(workers[0]->address());
  ASSERT_TRUE(router.send(v1::SubmitRequest()));
  EXPECT_EQ(router.finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST(PipelineServiceTest, ATimeoutEndsASequenceAndStopTokensDo) {
  const auto workers = start_pipeline(1);
  Router router(workers[0]->address());
  v1::StartSequence late = start(1, {5, 6}, 2000);
  late.set_timeout_ms(1);
  ASSERT_TRUE(router.send(late));
  EXPECT_EQ(router.read_to_end_of(1)->finish_reason(), v1::FINISH_REASON_DEADLINE);
  const GoldenCase golden = read_golden_cases().at(0);
  v1::StartSequence stopping = start(2, golden.prompt, 2000);
  stopping.add_stop_token_ids(golden.output.back());
  ASSERT_TRUE(router.send(stopping));
  EXPECT_EQ(router.read_to_end_of(2)->finish_reason(), v1::FINISH_REASON_STOP);
}

v1::WatchRequest watch_request() {
  v1::WatchRequest request;
  request.set_wire_version(kPipelineWireVersion);
  return request;
}

// Reads Watch until the message that the test waits for.
v1::WatchResponse watch_until(v1::Pipeline::Stub& stub,
                              const std::function<bool(const v1::WatchResponse&)>& wanted) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  v1::WatchRequest request = watch_request();
  request.set_interval_ms(10);
  const auto stream = stub.Watch(&context, request);
  v1::WatchResponse response;
  uint64_t last = 0;
  while (stream->Read(&response)) {
    EXPECT_GT(response.sequence_number(), last);
    last = response.sequence_number();
    if (wanted(response)) {
      context.TryCancel();
      return response;
    }
  }
  ADD_FAILURE() << "the state never came";
  return response;
}

bool all_free(const v1::WatchResponse& state) {
  return state.running_sequences() + state.waiting_sequences() == 0 &&
         state.free_blocks() == state.total_blocks();
}

TEST(PipelineServiceTest, ARoutersEndFreesItsBlocks) {
  const auto workers = start_pipeline(2);
  auto router = std::make_unique<Router>(workers[0]->address());
  for (uint64_t i = 0; i < 20; ++i) ASSERT_TRUE(router->send(start(i, {5, 6, 7}, 2000)));
  Router observer(workers[0]->address());
  watch_until(observer.stub(), [](const auto& state) { return state.running_sequences() == 20; });
  for (uint64_t i = 0; i < 10; ++i) {
    v1::SubmitRequest cancel;
    cancel.mutable_cancel()->set_sequence_id(i);
    ASSERT_TRUE(router->send(cancel));
  }
  watch_until(observer.stub(), [](const auto& state) { return state.running_sequences() == 10; });
  router.reset();
  watch_until(observer.stub(), all_free);
}

TEST(PipelineServiceTest, WatchTellsTheModelAndEveryChangeOfState) {
  auto lead = std::make_unique<RunningWorker>(nano_worker(0, 2));
  const auto stub = v1::Pipeline::NewStub(internal_channel(lead->address()));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  v1::WatchRequest request = watch_request();
  request.set_interval_ms(60'000);  // only changes of state come sooner
  const auto stream = stub->Watch(&context, request);
  v1::WatchResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.state(), v1::PIPELINE_STATE_FORMING);
  EXPECT_EQ(response.model().name(), "nano");
  EXPECT_EQ(response.model().vocab_size(), 1600u);
  EXPECT_EQ(response.eos_token_id(), kEndOfSequence);
  auto stage = std::make_unique<RunningWorker>(nano_worker(1, 2, lead->address()));
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.state(), v1::PIPELINE_STATE_READY);
  EXPECT_EQ(response.epoch(), 1u);
  stage.reset();
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.state(), v1::PIPELINE_STATE_FORMING);
  EXPECT_EQ(response.drain_left_ms(), 0u);
  lead->process().drain(now() + std::chrono::seconds(100));
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.state(), v1::PIPELINE_STATE_DRAINING);
  EXPECT_GT(response.drain_left_ms(), 50'000u);
  EXPECT_LE(response.drain_left_ms(), 100'000u);
  lead.reset();
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST(PipelineServiceTest, ARouterOfAnotherWireVersionIsRefusedWithBoth) {
  const RunningWorker lead(nano_worker(0, 1));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  v1::WatchRequest request;
  request.set_wire_version(kPipelineWireVersion + 1);
  const auto stream = v1::Pipeline::NewStub(internal_channel(lead.address()))->Watch(&context, request);
  v1::WatchResponse response;
  EXPECT_FALSE(stream->Read(&response));
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(status.error_message(), "the router speaks wire version 2, this lead 1");
}

// Knows what one Watch stream has told of the prefix cache.
class PrefixWatcher {
 public:
  explicit PrefixWatcher(v1::Pipeline::Stub& stub) {
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    v1::WatchRequest request = watch_request();
    request.set_interval_ms(10);
    request.set_with_prefix_digest(true);
    stream_ = stub.Watch(&context_, request);
  }
  ~PrefixWatcher() { context_.TryCancel(); }

  void read_until(const std::set<uint64_t>& wanted) {
    v1::WatchResponse response;
    while (known_ != wanted) {
      ASSERT_TRUE(stream_->Read(&response)) << "the prefixes never came";
      if (response.has_prefix_digest()) take(response.prefix_digest());
    }
  }

 private:
  void take(const v1::PrefixDigest& digest) {
    EXPECT_TRUE(digest.base_version() == 0 || digest.base_version() == version_);
    if (digest.base_version() == 0) known_.clear();
    version_ = digest.version();
    for (const uint64_t prefix : digest.removed()) known_.erase(prefix);
    known_.insert(digest.added().begin(), digest.added().end());
  }

  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::WatchResponse>> stream_;
  uint64_t version_ = 0;
  std::set<uint64_t> known_;
};

TEST(PipelineServiceTest, WatchTellsWhatIsInThePrefixCache) {
  auto workers = start_pipeline(2);
  Router router(workers[0]->address());
  PrefixWatcher watcher(router.stub());
  std::set<uint64_t> wanted;
  const std::vector<TokenId> prompts[] = {std::vector<TokenId>(40, 7), std::vector<TokenId>(70, 7),
                                          std::vector<TokenId>(33, 8)};
  for (uint64_t i = 0; i < 3; ++i) {
    v1::StartSequence sequence = start(i, prompts[i], 1);
    if (i == 2) sequence.set_cache_salt("tenant");
    ASSERT_TRUE(router.send(sequence));
    ASSERT_TRUE(router.read_to_end_of(i));
    for (const uint64_t name : prefix_hashes(i == 2 ? "tenant" : "", prompts[i], 16)) wanted.insert(name);
    watcher.read_until(wanted);
  }
  EXPECT_EQ(wanted.size(), 4 + 2);
  workers[1].reset();
  watcher.read_until({});
}

TEST(PipelineServiceTest, WatchTellsOfNoPrefixesUnlessAskedTo) {
  const auto workers = start_pipeline(1);
  Router router(workers[0]->address());
  ASSERT_TRUE(router.send(start(1, std::vector<TokenId>(40, 7), 1)));
  ASSERT_TRUE(router.read_to_end_of(1));
  const v1::WatchResponse state = watch_until(router.stub(), all_free);
  EXPECT_FALSE(state.has_prefix_digest());
}

TEST(PipelineServiceTest, ALeadThatStopsEndsSubmitStreamsWithUnavailable) {
  auto workers = start_pipeline(1);
  Router router(workers[0]->address());
  ASSERT_TRUE(router.send(start(1, {5}, 1)));
  ASSERT_TRUE(router.read_to_end_of(1));
  workers.clear();
  EXPECT_EQ(router.finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace octet::worker
