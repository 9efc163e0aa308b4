#include "router/access/account.h"

#include <gtest/gtest.h>

#include "base/status.h"

namespace octet::router {
namespace {

using std::chrono::seconds;

const Time kStart = Time() + std::chrono::hours(1);

TEST(TokenBucket, RefillsWithTimeAndHoldsAMinutesWorth) {
  TokenBucket bucket(60, kStart);
  EXPECT_EQ(bucket.wait_for(60, kStart), Duration::zero());
  bucket.take(60, kStart);
  EXPECT_EQ(bucket.wait_for(1, kStart), seconds(1));
  EXPECT_EQ(bucket.wait_for(10, kStart + seconds(4)), seconds(6));
  EXPECT_EQ(bucket.wait_for(60, kStart + seconds(3600)), Duration::zero());
  bucket.take(60, kStart + seconds(3600));
  EXPECT_EQ(bucket.wait_for(1, kStart + seconds(3600)), seconds(1)) << "more than a minute's worth was kept";
}

TEST(TokenBucket, OwesWhatWasTakenBeyondItsLevel) {
  TokenBucket bucket(60, kStart);
  bucket.take(180, kStart);
  EXPECT_EQ(bucket.wait_for(1, kStart), seconds(121));
}

TEST(TokenBucket, AnAmountBeyondAMinutesWorthWaitsForAFullBucket) {
  TokenBucket bucket(60, kStart);
  EXPECT_EQ(bucket.wait_for(1e9, kStart), Duration::zero());
  bucket.take(30, kStart);
  EXPECT_EQ(bucket.wait_for(1e9, kStart), seconds(30));
}

TEST(TokenBucket, AClockThatStandsGivesNothing) {
  TokenBucket bucket(60, kStart);
  bucket.take(60, kStart);
  EXPECT_EQ(bucket.wait_for(1, kStart - seconds(10)), seconds(1));
}

TEST(Account, RefusesPastTheQuotaOfRequestsAndSaysWhenToComeBack) {
  Account account({.requests_per_minute = 2, .tokens_per_minute = {}}, kStart);
  EXPECT_TRUE(account.admit(1000, kStart).ok());
  EXPECT_TRUE(account.admit(1000, kStart).ok());
  const absl::Status refused = account.admit(1000, kStart);
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(text_of(refused), "the API key's quota of 2 requests a minute is used up");
  EXPECT_EQ(retry_after_of(refused), seconds(30));
  EXPECT_TRUE(account.admit(1000, kStart + seconds(30)).ok());
}

TEST(Account, AnswersAreChargedToo) {
  Account account({.requests_per_minute = {}, .tokens_per_minute = 60}, kStart);
  EXPECT_TRUE(account.admit(10, kStart).ok());
  account.charge_tokens(110, kStart);
  const absl::Status refused = account.admit(10, kStart);
  EXPECT_EQ(text_of(refused), "the API key's quota of 60 tokens a minute is used up");
  EXPECT_EQ(retry_after_of(refused), seconds(70));
}

TEST(Account, ARefusedRequestCostsNothingAndOneThatDidNotRunIsGivenBack) {
  Account account({.requests_per_minute = 1, .tokens_per_minute = 60}, kStart);
  EXPECT_TRUE(account.admit(60, kStart).ok());
  EXPECT_FALSE(account.admit(60, kStart).ok());
  account.give_back(60, kStart);
  EXPECT_TRUE(account.admit(60, kStart).ok());
}

}  // namespace
}  // namespace octet::router
