// For one tensor-parallel size, tokens and log-probability bits do not depend on anything but the request.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>

#include "tests/worker/stage/generate.h"
#include "tests/worker/stage/golden_cases.h"

namespace octet::worker {
namespace {

// Every other request samples, so that the draws are put to the test as well.
std::vector<TestRequest> make_requests() {
  std::vector<TestRequest> requests;
  for (const GoldenCase& golden : read_golden_cases()) {
    TestRequest request{golden.prompt, greedy_with_logprobs(), 40};
    if (requests.size() % 2 == 1) {
      request.sampling.temperature = 1.3f;
      request.sampling.top_p = 0.95f;
      request.sampling.repetition_penalty = 1.1f;
      request.sampling.seed = requests.size();
    }
    requests.push_back(std::move(request));
  }
  return requests;
}

// Whatever the circumstances, a pipeline generates what the reference does: one stage of the same
// tensor-parallel size with all requests in one batch.
class Identity : public testing::TestWithParam<int> {
 protected:
  static void SetUpTestSuite() { requests_ = new std::vector<TestRequest>(make_requests()); }
  static void TearDownTestSuite() {
    references_.clear();
    delete requests_;
  }

  struct Reference {
    Pipeline pipeline;
    std::vector<TestOutput> outputs;
  };
  // Made once for all tests of a size.
  static Reference& reference() {
    auto& reference = references_[GetParam()];
    if (reference == nullptr) {
      reference = std::make_unique<Reference>(Reference{Pipeline(1, GetParam()), {}});
      reference->outputs = generate(reference->pipeline, *requests_);
    }
    return *reference;
  }

  static void expect_same(Pipeline& pipeline, const GenerateOptions& options) {
    const std::vector<TestOutput> outputs = generate(pipeline, *requests_, options);
    for (size_t i = 0; i < requests_->size(); ++i) {
      EXPECT_TRUE(same_bits(outputs[i], reference().outputs[i])) << "request " << i;
    }
  }
  static void expect_same_on_one_stage(const GenerateOptions& options) {
    expect_same(reference().pipeline, options);
  }

 private:
  static std::vector<TestRequest>* requests_;
  static std::map<int, std::unique_ptr<Reference>> references_;  // by ranks
};
std::vector<TestRequest>* Identity::requests_ = nullptr;
std::map<int, std::unique_ptr<Identity::Reference>> Identity::references_;

TEST_P(Identity, WhateverTheStages) {
  for (const int num_stages : {2, 4, 8}) {
    SCOPED_TRACE(num_stages);
    Pipeline pipeline(num_stages, GetParam());
    expect_same(pipeline, {});
  }
}

TEST_P(Identity, WhateverTheBatch) {
  for (const size_t max_running : {1, 7}) {
    SCOPED_TRACE(max_running);
    expect_same_on_one_stage({.max_running = max_running});
  }
}

TEST_P(Identity, WhateverTheChunkSize) {
  for (const uint32_t chunk_size : {1, 7, 64}) {
    SCOPED_TRACE(chunk_size);
    expect_same_on_one_stage({.chunk_size = chunk_size});
  }
  // Chunks are cut where the batch is full.
  expect_same_on_one_stage({.max_batch_tokens = 100, .max_running = 72});
}

TEST_P(Identity, WhereverTheBlocksLie) {
  expect_same_on_one_stage({.block_order = BlockOrder::kScrambled});
}

TEST_P(Identity, HoweverOftenSequencesArePreempted) {
  for (const uint32_t preempt_every : {3, 25}) {
    SCOPED_TRACE(preempt_every);
    expect_same_on_one_stage({.max_running = 24, .preempt_every = preempt_every});
  }
}

TEST_P(Identity, AllOfItAtOnce) {
  Pipeline pipeline(2, GetParam());
  expect_same(pipeline, {.chunk_size = 11,
                         .max_batch_tokens = 90,
                         .max_running = 30,
                         .block_order = BlockOrder::kScrambled,
                         .preempt_every = 17});
}

INSTANTIATE_TEST_SUITE_P(Ranks, Identity, testing::Values(1, 2),
                         [](const auto& ranks) { return "tp" + std::to_string(ranks.param); });

// A prompt that spans many blocks and attention pieces, in chunks of every kind.
TEST(IdentityOfLongPrompts, WhateverTheChunkSize) {
  std::vector<TokenId> prompt;
  for (const GoldenCase& golden : read_golden_cases()) {
    prompt.insert(prompt.end(), golden.prompt.begin(), golden.prompt.end());
    if (prompt.size() > 1600) break;
  }
  const std::vector<TestRequest> requests = {{prompt, greedy_with_logprobs(), 4}};
  Pipeline pipeline(2, 1);
  const std::vector<TestOutput> reference = generate(pipeline, requests, {.chunk_size = 2048});
  for (const uint32_t chunk_size : {7, 512, 1000}) {
    const auto outputs =
        generate(pipeline, requests, {.chunk_size = chunk_size, .block_order = BlockOrder::kScrambled});
    EXPECT_TRUE(same_bits(outputs[0], reference[0])) << chunk_size;
  }
}

}  // namespace
}  // namespace octet::worker
