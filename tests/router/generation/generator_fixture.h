// What tests of the generator have in common.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "router/generation/pipeline_generator.h"
#include "tests/router/generation/fakes.h"

namespace octet::router {

// A generator on pipelines whose outputs the test writes.
class PipelineGeneratorTest : public testing::Test {
 protected:
  PipelineGeneratorTest() {
    limits_.max_requests = 4;
    limits_.max_sequences = 8;
    limits_.deadline_grace = Duration::zero();
    request_.request_id = "r";
    request_.prompt = tokenizer_->encode("User");
    request_.sampling.seed = 42;
    request_.max_tokens = 100;
    request_.stop_token_ids = {tokenizer_->eos_id(), end_of_turn()};
  }

  PipelineGenerator& generator() {
    if (!generator_) generator_.emplace(loop_, pipelines_, tokenizer_, metrics_, limits_);
    return *generator_;
  }
  GenerationId start() { return generator().start(request_, sink_); }
  std::vector<TokenId> tokens_of(std::string_view text) const {
    return tokenizer_->encode_continuation(text);
  }
  TokenId end_of_turn() const { return tokenizer_->piece_id("<extra_id_1>").value(); }
  v1::SequenceOutput error_output(absl::StatusCode code, const std::string& message) const {
    v1::SequenceOutput output;
    output.set_error_code(static_cast<int>(code));
    output.set_error_message(message);
    return output;
  }
  void turn() {
    loop_.restart();
    loop_.poll();
  }
  // Of a counter whose one label has this value.
  double counted(const std::string& name, const std::string& label) {
    for (const auto& family : metrics_.registry()->Collect()) {
      if (family.name != name) continue;
      for (const auto& metric : family.metric) {
        if (metric.label.at(0).value == label) return metric.counter.value;
      }
    }
    return -1;
  }
  void expect_nothing_in_flight() {
    EXPECT_EQ(generator().num_requests(), 0U);
    EXPECT_EQ(pipelines_.num_running(), 0U);
    EXPECT_EQ(metrics_.requests_in_flight.Value(), 0);
    EXPECT_EQ(metrics_.sequences_in_flight.Value(), 0);
  }

  const std::shared_ptr<const Tokenizer> tokenizer_ = Tokenizer::load("deploy/nano/tokenizer.model").value();
  boost::asio::io_context loop_;
  FakePipelines pipelines_;
  RouterMetrics metrics_;
  PipelineGenerator::Limits limits_;
  ValidatedRequest request_;
  std::shared_ptr<RecordingSink> sink_ = std::make_shared<RecordingSink>();
  std::optional<PipelineGenerator> generator_;
};

}  // namespace octet::router
