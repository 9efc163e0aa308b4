#include "router/access/metered_generator.h"

#include <gtest/gtest.h>

#include "base/status.h"

namespace octet::router {
namespace {

// Keeps the sinks for the test to call.
class FakeGenerator final : public Generator {
 public:
  GenerationId start(ValidatedRequest, std::shared_ptr<GenerationSink> sink) override {
    sinks.push_back(std::move(sink));
    return sinks.size();
  }
  void cancel(GenerationId id) override { cancelled.push_back(id); }

  std::vector<std::shared_ptr<GenerationSink>> sinks;
  std::vector<GenerationId> cancelled;
};

class FakeSink final : public GenerationSink {
 public:
  void on_prompt_logprobs(std::vector<TokenLogprob>) override {}
  void on_piece(Piece piece) override { num_tokens += piece.tokens.size(); }
  void on_done(const GenerationUsage&) override {}
  void on_error(const absl::Status& status) override { error = status; }

  size_t num_tokens = 0;
  absl::Status error;
};

class MeteredGeneratorTest : public ::testing::Test {
 protected:
  std::shared_ptr<FakeSink> start(const std::string& tenant, size_t prompt_tokens) {
    ValidatedRequest request;
    request.tenant.name = tenant;
    request.prompt.resize(prompt_tokens);
    auto sink = std::make_shared<FakeSink>();
    id_ = generator_.start(std::move(request), sink);
    return sink;
  }
  void turn() {
    loop_.restart();
    loop_.poll();
  }
  static Piece piece(size_t num_tokens) {
    Piece piece;
    piece.tokens.resize(num_tokens);
    return piece;
  }

  boost::asio::io_context loop_;
  FakeGenerator inner_;
  RouterMetrics metrics_;
  Quota quota_{.requests_per_minute = {}, .tokens_per_minute = 100};
  MeteredGenerator generator_{loop_, inner_, metrics_, [this](const std::string& tenant) {
                                return tenant == "limited" ? quota_ : Quota();
                              }};
  GenerationId id_ = 0;
};

TEST_F(MeteredGeneratorTest, ATenantWithoutAQuotaIsNotMetered) {
  for (int i = 0; i < 10; ++i) start("free", 1000);
  turn();
  EXPECT_EQ(inner_.sinks.size(), 10u);
}

TEST_F(MeteredGeneratorTest, ChargesPromptAndAnswerAndRefusesThroughTheSink) {
  const auto first = start("limited", 40);
  ASSERT_EQ(inner_.sinks.size(), 1u);
  inner_.sinks[0]->on_piece(piece(50));
  EXPECT_EQ(first->num_tokens, 50u);
  const auto second = start("limited", 40);
  EXPECT_EQ(inner_.sinks.size(), 1u);
  EXPECT_TRUE(second->error.ok()) << "told before start() has returned";
  turn();
  EXPECT_EQ(second->error.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(retry_after_of(second->error));
}

TEST_F(MeteredGeneratorTest, ARefusedRequestThatIsCancelledHearsNothing) {
  start("limited", 100);
  const auto sink = start("limited", 100);
  generator_.cancel(id_);
  turn();
  EXPECT_TRUE(sink->error.ok());
  EXPECT_TRUE(inner_.cancelled.empty());
}

TEST_F(MeteredGeneratorTest, CancelReachesTheGenerator) {
  start("limited", 10);
  generator_.cancel(id_);
  EXPECT_EQ(inner_.cancelled, std::vector<GenerationId>{1});
}

TEST_F(MeteredGeneratorTest, WhatDidNotRunIsGivenBack) {
  const auto overloaded_sink = start("limited", 90);
  inner_.sinks[0]->on_error(overloaded("full", std::chrono::seconds(1)));
  EXPECT_FALSE(overloaded_sink->error.ok());
  start("limited", 90);
  EXPECT_EQ(inner_.sinks.size(), 2u);
}

TEST_F(MeteredGeneratorTest, ANewQuotaIsInForceAtOnce) {
  start("limited", 100);
  quota_.tokens_per_minute = 1000;
  start("limited", 900);
  EXPECT_EQ(inner_.sinks.size(), 2u);
}

}  // namespace
}  // namespace octet::router
