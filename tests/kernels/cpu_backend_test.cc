// What the CPU backend promises besides its ops: its options, its memory, and that bad calls are noticed.
#include <cmath>
#include <cstring>

#include "tests/kernels/op_test.h"

namespace octet::kernels {
namespace {

TEST(CpuOptions, RefusesRankAndThreadCountsOutOfRange) {
  EXPECT_FALSE(find_problem({}).has_value());
  EXPECT_EQ(find_problem({.num_ranks = 0}), "the CPU backend has 1 to 64 ranks, not 0");
  EXPECT_EQ(find_problem({.num_ranks = 65}), "the CPU backend has 1 to 64 ranks, not 65");
  EXPECT_EQ(find_problem({.threads_per_rank = -1}), "a CPU rank has 1 to 256 threads, not -1");
  EXPECT_EQ(find_problem({.threads_per_rank = 257}), "a CPU rank has 1 to 256 threads, not 257");
}

TEST(CpuRanks, KnowTheirPlaceAndTheirInstructionSet) {
  const auto ranks = make_cpu_ranks({.num_ranks = 3, .threads_per_rank = 1, .isa = CpuIsa::kAvx2});
  ASSERT_EQ(ranks.size(), 3u);
  for (int r = 0; r < 3; ++r) {
    EXPECT_EQ(ranks[static_cast<size_t>(r)]->rank(), r);
    EXPECT_EQ(ranks[static_cast<size_t>(r)]->num_ranks(), 3);
    EXPECT_STREQ(ranks[static_cast<size_t>(r)]->name(), "cpu (AVX2)");
  }
}

TEST(CpuRanks, OutliveEachOther) {
  auto ranks = make_cpu_ranks({.num_ranks = 2, .threads_per_rank = 2, .isa = CpuIsa::kBest});
  ranks.erase(ranks.begin());
  std::vector<float> a = {1.0f};
  std::vector<float> b = {2.0f};
  ranks.front()->add(matrix(a, 1, 1), matrix(b, 1, 1));
  EXPECT_EQ(a[0], 3.0f);
}

TEST(CpuBuffer, IsZeroedAndAlignedAtEverySize) {
  const std::unique_ptr<Backend> backend = make_backend(cpu_cases().front());
  for (const int64_t size : {0, 1, 63, 64, 100000, 1 << 20, (1 << 20) + 1}) {
    const std::unique_ptr<Buffer> buffer = backend->allocate(size);
    ASSERT_NE(buffer, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % 64, 0u);
    const char* const data = static_cast<const char*>(buffer->data());
    EXPECT_TRUE(std::all_of(data, data + size, [](char c) { return c == 0; }));
    std::memset(buffer->data(), 1, static_cast<size_t>(size));
  }
}

TEST(CpuBuffer, IsNullWhenTheSystemHasNotSoMuch) {
  const std::unique_ptr<Backend> backend = make_backend(cpu_cases().front());
  EXPECT_EQ(backend->allocate(int64_t{1} << 60), nullptr);
}

TEST(BackendChecks, StopTheProcessWithTheValues) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const std::unique_ptr<Backend> backend = make_backend(cpu_cases().front());
  std::vector<float> small(4);
  std::vector<float> large(64);
  EXPECT_DEATH(backend->add(matrix(small, 2, 2), matrix(large, 2, 3)), "dimension 1: 2 and 3");
  EXPECT_DEATH(backend->linear(matrix(small, 1, 4), matrix(large, 1, 5), matrix(large, 4, 6)),
               "5 and 6 deep");
  EXPECT_DEATH(backend->layer_norm(matrix(large, 1, 4), matrix(large, 1, 4),
                                   Tensor(small.data(), DType::kFloat32, {4}),
                                   Tensor(small.data(), DType::kFloat32, {4}), 1e-5f),
               "output aliases input");
  const std::vector<int32_t> rows = {2};
  EXPECT_DEATH(backend->gather_rows(matrix(small, 1, 4), matrix(large, 2, 4), rows), "row 2 of 2");
  const KvLayer kv = {Tensor(large.data(), DType::kFloat32, {2, 4, 1, 4}),
                      Tensor(large.data(), DType::kFloat32, {2, 4, 1, 4})};
  const std::vector<int32_t> blocks = {2};
  const AttentionChunk chunk = {.first_row = 0, .num_rows = 1, .start_position = 3, .block_table = blocks};
  EXPECT_DEATH(backend->paged_attention(heads(small, 1, 1, 4), heads(small, 1, 1, 4), kv, {&chunk, 1}),
               "block 2 of 2");
  const AttentionChunk too_long = {.first_row = 0, .num_rows = 1, .start_position = 4, .block_table = blocks};
  EXPECT_DEATH(backend->paged_attention(heads(small, 1, 1, 4), heads(small, 1, 1, 4), kv, {&too_long, 1}),
               "1 blocks for 5 positions");
}

}  // namespace
}  // namespace octet::kernels
