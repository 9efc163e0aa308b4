// For one tensor-parallel size, tokens and log-probability bits do not depend on anything but the request.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <tuple>

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

// How a pipeline multiplies: what its bits may depend on besides the request.
struct Arithmetic {
  int num_ranks;
  const char* name;
  WeightOptions weights;

  friend bool operator<(const Arithmetic& a, const Arithmetic& b) {
    return std::tuple(a.num_ranks, std::string_view(a.name)) <
           std::tuple(b.num_ranks, std::string_view(b.name));
  }
  friend void PrintTo(const Arithmetic& a, std::ostream* out) { *out << a.name << "_tp" << a.num_ranks; }
};

Pipeline make_pipeline(int num_stages, const Arithmetic& arithmetic) {
  return Pipeline(num_stages, arithmetic.num_ranks, arithmetic.weights);
}

// Whatever the circumstances, a pipeline generates what the reference does: one stage of the same arithmetic
// with all requests in one batch.
class Identity : public testing::TestWithParam<Arithmetic> {
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
  // Made once for all tests of an arithmetic.
  static Reference& reference() {
    auto& reference = references_[GetParam()];
    if (reference == nullptr) {
      reference = std::make_unique<Reference>(Reference{make_pipeline(1, GetParam()), {}});
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
  static std::map<Arithmetic, std::unique_ptr<Reference>> references_;
};
std::vector<TestRequest>* Identity::requests_ = nullptr;
std::map<Arithmetic, std::unique_ptr<Identity::Reference>> Identity::references_;

TEST_P(Identity, WhateverTheStages) {
  for (const int num_stages : {2, 4, 8}) {
    SCOPED_TRACE(num_stages);
    Pipeline pipeline = make_pipeline(num_stages, GetParam());
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
  Pipeline pipeline = make_pipeline(2, GetParam());
  expect_same(pipeline, {.chunk_size = 11,
                         .max_batch_tokens = 90,
                         .max_running = 30,
                         .block_order = BlockOrder::kScrambled,
                         .preempt_every = 17});
}

constexpr WeightOptions kFp32 = {.activations = ActivationType::kFloat32};
constexpr WeightOptions kBf16 = {.format = kernels::WeightFormat::kBFloat16};
constexpr WeightOptions kInt8 = {.format = kernels::WeightFormat::kInt8};
constexpr WeightOptions kFp8 = {.format = kernels::WeightFormat::kFloat8};
const Arithmetic kArithmetics[] = {{1, "fp32", kFp32}, {2, "fp32", kFp32}, {1, "bf16", kBf16},
                                   {2, "bf16", kBf16}, {1, "int8", kInt8}, {2, "int8", kInt8},
                                   {1, "fp8", kFp8},   {2, "fp8", kFp8}};

INSTANTIATE_TEST_SUITE_P(Arithmetics, Identity, testing::ValuesIn(kArithmetics),
                         testing::PrintToStringParamName());

// A prompt that spans many blocks and attention pieces, in chunks of every kind.
TEST(IdentityOfLongPrompts, WhateverTheChunkSize) {
  std::vector<TokenId> prompt;
  for (const GoldenCase& golden : read_golden_cases()) {
    prompt.insert(prompt.end(), golden.prompt.begin(), golden.prompt.end());
    if (prompt.size() > 1600) break;
  }
  const std::vector<TestRequest> requests = {{prompt, greedy_with_logprobs(), 4}};
  for (const WeightOptions& weights : {kFp32, kBf16, kInt8, kFp8}) {
    Pipeline pipeline(2, 1, weights);
    const std::vector<TestOutput> reference = generate(pipeline, requests, {.chunk_size = 2048});
    for (const uint32_t chunk_size : {7, 512, 1000}) {
      const auto outputs =
          generate(pipeline, requests, {.chunk_size = chunk_size, .block_order = BlockOrder::kScrambled});
      EXPECT_TRUE(same_bits(outputs[0], reference[0])) << chunk_size;
    }
  }
}

}  // namespace
}  // namespace octet::worker
