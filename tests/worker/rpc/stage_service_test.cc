// A later stage against a lead that is none: what any process that reaches its port can do to it.
#include "worker/rpc/stage_service.h"

#include <gtest/gtest.h>

#include <future>
#include <span>

#include "tests/worker/rpc/workers.h"

namespace octet::worker {
namespace {

const LinkKey kLinkKey = make_link_key();

class StageServiceTest : public testing::Test {
 protected:
  // Nobody answers at the lead's address, which is a discard port.
  StageServiceTest()
      : worker_(nano_worker(1, 2, "127.0.0.1:9")),
        stub_(v1::Stage::NewStub(internal_channel(worker_.address()))) {}

  static void set_deadline(grpc::ClientContext& context) {
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  }

  grpc::Status join(const v1::JoinRequest& request) {
    grpc::ClientContext context;
    set_deadline(context);
    v1::JoinResponse response;
    return stub_->Join(&context, request, &response);
  }

  RunningWorker worker_;
  std::unique_ptr<v1::Stage::Stub> stub_;
};

TEST_F(StageServiceTest, DescribesWhatItHolds) {
  grpc::ClientContext context;
  set_deadline(context);
  v1::DescribeResponse response;
  ASSERT_TRUE(stub_->Describe(&context, {}, &response).ok());
  EXPECT_EQ(response.description().stage(), 1u);
  EXPECT_EQ(response.description().first_layer(), 4u);
  EXPECT_EQ(response.description().end_layer(), 8u);
  EXPECT_EQ(response.description().backend(), "cpu");
  EXPECT_EQ(response.description().wire_version(), kWireVersion);
  EXPECT_GT(response.description().num_blocks(), 0u);
}

TEST_F(StageServiceTest, AJoinWithoutLinksFailsAtItsDeadlineAndEpochsOnlyRise) {
  v1::JoinRequest request;
  request.set_epoch(3);
  request.set_num_blocks(16);
  request.set_timeout_ms(20);
  EXPECT_EQ(join(request).error_code(), grpc::StatusCode::INVALID_ARGUMENT) << "without a link_key";
  request.set_link_key(kLinkKey.data(), kLinkKey.size());
  EXPECT_EQ(join(request).error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(join(request).error_code(), grpc::StatusCode::FAILED_PRECONDITION) << "epoch 3 again";
  request.set_epoch(4);
  request.set_num_blocks(1 << 30);
  EXPECT_EQ(join(request).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  request.set_num_blocks(16);
  request.set_next_link_address("not an address");
  EXPECT_EQ(join(request).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(StageServiceTest, AStreamOfAnEpochThatWasNotJoinedIsRefused) {
  for (const uint64_t epoch : {uint64_t{0}, uint64_t{77}}) {
    grpc::ClientContext context;
    set_deadline(context);
    const auto stream = stub_->Execute(&context);
    v1::ExecuteRequest request;
    request.set_epoch(epoch);
    ASSERT_TRUE(stream->Write(request));
    v1::ExecuteResponse response;
    EXPECT_FALSE(stream->Read(&response));
    EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  }
  EXPECT_FALSE(worker_.process().ready());
}

// The test as the lead of an epoch: it holds the link that feeds the stage, and its one Execute stream.
class JoinedStageTest : public StageServiceTest {
 protected:
  void SetUp() override {
    v1::JoinRequest request;
    request.set_epoch(1);
    request.set_num_blocks(16);
    request.set_timeout_ms(30'000);
    request.set_link_key(kLinkKey.data(), kLinkKey.size());
    auto joined = std::async(std::launch::async, [&] { return join(request); });
    auto links = connect_links("127.0.0.1:" + std::to_string(worker_.process().link_port()), 1, kLinkKey, 1,
                               now() + std::chrono::seconds(30));
    ASSERT_TRUE(links.ok()) << links.status();
    links_ = *std::move(links);
    ASSERT_TRUE(joined.get().ok());
    set_deadline(context_);
    stream_ = stub_->Execute(&context_);
  }

  // One sequence of one token, in the epoch.
  static v1::ExecuteRequest request() {
    v1::ExecuteRequest request;
    request.set_epoch(1);
    v1::AdmittedSequence* admitted = request.mutable_plan()->add_admitted();
    admitted->set_sequence_id(1);
    admitted->add_tokens(5);
    admitted->set_num_prompt_tokens(1);
    admitted->mutable_sampling()->set_top_p(1);
    admitted->mutable_sampling()->set_repetition_penalty(1);
    v1::SequenceChunk* chunk = request.mutable_plan()->add_chunks();
    chunk->set_sequence_id(1);
    chunk->add_tokens(5);
    chunk->add_new_blocks(0);
    chunk->set_samples(true);
    return request;
  }

  std::vector<std::unique_ptr<Link>> links_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::ExecuteRequest, v1::ExecuteResponse>> stream_;
};

TEST_F(JoinedStageTest, AnswersAPlanWithASampleAndItsTimes) {
  const std::vector<float> activations(128, 0.5f);  // [1, hidden]
  ASSERT_TRUE(stream_->Write(request()));
  ASSERT_TRUE(
      links_[0]->send(0, std::as_bytes(std::span(activations)), now() + std::chrono::seconds(30)).ok());
  v1::ExecuteResponse response;
  ASSERT_TRUE(stream_->Read(&response));
  EXPECT_EQ(response.result().error(), "");
  EXPECT_EQ(response.epoch(), 1u);
  EXPECT_EQ(response.result().samples_size(), 1);
  EXPECT_GE(response.result().timing().resident_ns(), response.result().timing().compute_ns());
  EXPECT_TRUE(worker_.process().ready());
}

TEST_F(JoinedStageTest, APlanOutOfRangeEndsTheStreamWithTheField) {
  v1::ExecuteRequest bad = request();
  bad.mutable_plan()->mutable_chunks(0)->set_new_blocks(0, 4'000'000'000);
  ASSERT_TRUE(stream_->Write(bad));
  v1::ExecuteResponse response;
  EXPECT_FALSE(stream_->Read(&response));
  const grpc::Status status = stream_->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_NE(status.error_message().find("chunks.new_blocks"), std::string::npos);
}

TEST_F(JoinedStageTest, APlanThatContradictsTheStageIsAnErrorInItsAnswer) {
  v1::ExecuteRequest bad = request();
  bad.mutable_plan()->mutable_admitted(0)->set_sequence_id(2);
  ASSERT_TRUE(stream_->Write(bad));
  v1::ExecuteResponse response;
  ASSERT_TRUE(stream_->Read(&response));
  EXPECT_NE(response.result().error(), "");
}

TEST_F(JoinedStageTest, ALostLinkIsAnErrorInTheAnswer) {
  links_.clear();
  ASSERT_TRUE(stream_->Write(request()));
  v1::ExecuteResponse response;
  ASSERT_TRUE(stream_->Read(&response));
  EXPECT_NE(response.result().error(), "");
}

TEST_F(JoinedStageTest, ASecondStreamOfTheEpochIsRefused) {
  const std::vector<float> activations(128, 0.5f);
  ASSERT_TRUE(stream_->Write(request()));
  ASSERT_TRUE(
      links_[0]->send(0, std::as_bytes(std::span(activations)), now() + std::chrono::seconds(30)).ok());
  v1::ExecuteResponse response;
  ASSERT_TRUE(stream_->Read(&response));
  grpc::ClientContext context;
  set_deadline(context);
  const auto second = stub_->Execute(&context);
  ASSERT_TRUE(second->Write(request()));
  EXPECT_FALSE(second->Read(&response));
  EXPECT_EQ(second->Finish().error_code(), grpc::StatusCode::FAILED_PRECONDITION);
}

TEST_F(JoinedStageTest, PlansOfAnotherEpochAreDropped) {
  const std::vector<float> activations(128, 0.5f);
  ASSERT_TRUE(stream_->Write(request()));
  ASSERT_TRUE(
      links_[0]->send(0, std::as_bytes(std::span(activations)), now() + std::chrono::seconds(30)).ok());
  v1::ExecuteResponse response;
  ASSERT_TRUE(stream_->Read(&response));
  v1::ExecuteRequest stale = request();
  stale.set_epoch(9);
  stale.mutable_plan()->set_step(1);
  ASSERT_TRUE(stream_->Write(stale));
  v1::ExecuteRequest next;  // the decode that follows
  next.set_epoch(1);
  next.mutable_plan()->set_step(1);
  v1::SequenceChunk* chunk = next.mutable_plan()->add_chunks();
  chunk->set_sequence_id(1);
  chunk->set_start_position(1);
  chunk->add_tokens(response.result().samples(0).token().token_id());
  chunk->set_samples(true);
  ASSERT_TRUE(stream_->Write(next));
  ASSERT_TRUE(
      links_[0]->send(1, std::as_bytes(std::span(activations)), now() + std::chrono::seconds(30)).ok());
  ASSERT_TRUE(stream_->Read(&response));
  EXPECT_EQ(response.result().step(), 1u);
  EXPECT_EQ(response.result().error(), "") << "the stale plan would admit the sequence again";
}

TEST_F(StageServiceTest, EndsWhileAJoinWaits) {
  v1::JoinRequest request;
  request.set_epoch(1);
  request.set_num_blocks(16);
  request.set_timeout_ms(600'000);
  request.set_link_key(kLinkKey.data(), kLinkKey.size());
  grpc::ClientContext context;
  set_deadline(context);
  v1::JoinResponse response;
  std::promise<void> over;
  stub_->async()->Join(&context, &request, &response, [&](const grpc::Status&) { over.set_value(); });
  // The fixture ends the worker now, whatever the join has come to; its client must hear of it.
  worker_.process().drain(now() + std::chrono::seconds(30));
  context.TryCancel();
  over.get_future().wait();
}

}  // namespace
}  // namespace octet::worker
