#include "worker/stage/memory_budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace octet::worker {
namespace {

using testing::HasSubstr;

constexpr int64_t kMebibyte = 1 << 20;
constexpr kernels::DeviceMemory kDevice = {.total_bytes = 3200 * kMebibyte, .free_bytes = 3000 * kMebibyte};

TEST(MemoryBudget, GivesTheCacheWhatIsLeft) {
  const auto budget = divide_memory(
      kDevice,
      {.weight_bytes = 1000 * kMebibyte, .activation_bytes = 300 * kMebibyte, .sequence_bytes = kMebibyte});
  ASSERT_TRUE(budget.ok()) << budget.status();
  EXPECT_EQ(budget->used_bytes, 200 * kMebibyte);
  EXPECT_EQ(budget->reserve_bytes, 100 * kMebibyte);
  EXPECT_EQ(budget->kv_cache_bytes, 1600 * kMebibyte);
  EXPECT_EQ(budget->used_bytes + budget->weight_bytes + budget->activation_bytes + budget->reserve_bytes +
                budget->kv_cache_bytes,
            budget->total_bytes);
  EXPECT_EQ(to_text(*budget),
            "3200 MiB: 200 in use before, 1000 weights, 300 activations, 100 in reserve, 1600 KV cache");
}

TEST(MemoryBudget, GivesTheCacheNoMoreThanAskedFor) {
  const auto budget = divide_memory(
      kDevice,
      {.weight_bytes = 1000 * kMebibyte, .sequence_bytes = kMebibyte, .kv_cache_bytes = 64 * kMebibyte});
  ASSERT_TRUE(budget.ok()) << budget.status();
  EXPECT_EQ(budget->kv_cache_bytes, 64 * kMebibyte);
}

TEST(MemoryBudget, TakesTheLastByte) {
  EXPECT_TRUE(divide_memory(kDevice, {.weight_bytes = 2899 * kMebibyte, .sequence_bytes = kMebibyte}).ok());
  EXPECT_FALSE(
      divide_memory(kDevice, {.weight_bytes = 2899 * kMebibyte, .sequence_bytes = kMebibyte + 1}).ok());
}

TEST(MemoryBudget, SaysHowMuchIsMissingAndWhatWouldHelp) {
  const absl::Status status =
      divide_memory(kDevice, {.weight_bytes = 4000 * kMebibyte, .sequence_bytes = 50 * kMebibyte}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("lacks 1150 MiB: of 3200 MiB 3000 are free"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("4000 for weights"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("--tp"));
  EXPECT_THAT(std::string(status.message()), Not(HasSubstr("--kv-cache-mib")));
}

TEST(MemoryBudget, NamesTheFlagOfACacheThatIsTooLarge) {
  const absl::Status status = divide_memory(kDevice, {.weight_bytes = 1000 * kMebibyte,
                                                      .sequence_bytes = kMebibyte,
                                                      .kv_cache_bytes = 4000 * kMebibyte})
                                  .status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("lacks 2100 MiB"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("--kv-cache-mib"));
}

}  // namespace
}  // namespace octet::worker
