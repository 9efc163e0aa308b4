#include "worker/engine/sequence_table.h"

#include <gtest/gtest.h>

#include "tests/worker/engine/fake_subscriber.h"

namespace octet::worker {
namespace {

SequenceNews token_news(TokenId token) {
  SequenceNews news;
  news.tokens.push_back({token, 0, {}, {}});
  return news;
}

class SequenceTableTest : public testing::Test {
 protected:
  void SetUp() override {
    table_.add_subscriber(1, one_);
    table_.add_subscriber(2, two_);
  }
  SequenceTable table_;
  std::shared_ptr<FakeSubscriber> one_ = std::make_shared<FakeSubscriber>();
  std::shared_ptr<FakeSubscriber> two_ = std::make_shared<FakeSubscriber>();
};

TEST_F(SequenceTableTest, IdsAreNeverReusedAndRouterNumbersAreOfTheirStream) {
  const SequenceId a = *table_.add(1, 7);
  const SequenceId b = *table_.add(2, 7);
  EXPECT_NE(a, 0u) << "the warm-up's";
  EXPECT_NE(a, b);
  EXPECT_FALSE(table_.add(1, 7));
  table_.remove(a);
  EXPECT_FALSE(table_.find(1, 7));
  const SequenceId c = *table_.add(1, 7);
  EXPECT_GT(c, b);
  EXPECT_EQ(table_.find(1, 7), c);
  EXPECT_EQ(table_.num_sequences(), 2u);
}

TEST_F(SequenceTableTest, FlushDeliversOnceToEachSubscriberWithNews) {
  const SequenceId a = *table_.add(1, 7);
  const SequenceId b = *table_.add(1, 8);
  table_.add_news(a, token_news(5));
  table_.add_news(b, token_news(6));
  table_.remove(b);  // its last news still go out
  EXPECT_TRUE(table_.flush().empty());
  EXPECT_TRUE(table_.flush().empty());
  EXPECT_EQ(one_->deliveries(), (std::vector<std::vector<uint64_t>>{{7, 8}}));
  EXPECT_TRUE(two_->deliveries().empty());
}

TEST_F(SequenceTableTest, NewsOfSequencesWithoutOwnerAreDropped) {
  const SequenceId a = *table_.add(1, 7);
  table_.add_news(a, token_news(5));
  EXPECT_EQ(table_.remove_subscriber(1), (std::vector<SequenceId>{a}));
  table_.add_news(a, token_news(6));
  EXPECT_TRUE(table_.flush().empty());
  EXPECT_TRUE(one_->deliveries().empty());
  EXPECT_EQ(table_.subscriber(1), nullptr);
  EXPECT_TRUE(table_.remove_subscriber(1).empty());
}

TEST_F(SequenceTableTest, HoldsNewsBackUpToItsIntervalTheFirstAndTheLastAside) {
  const SequenceId a = *table_.add(1, 7, /*output_interval=*/3);
  std::vector<size_t> heard;  // tokens, after each of them
  for (TokenId token = 1; token <= 6; ++token) {
    SequenceNews news = token_news(token);
    if (token == 6) news.finish = FinishReason::kLength;
    table_.add_news(a, std::move(news));
    table_.flush();
    heard.push_back(one_->sequence(7).tokens.size());
  }
  EXPECT_EQ(heard, (std::vector<size_t>{1, 1, 1, 4, 4, 6}));
  EXPECT_EQ(one_->sequence(7).tokens, (std::vector<TokenId>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(one_->sequence(7).finish, FinishReason::kLength);
}

TEST_F(SequenceTableTest, AFailureBringsWhatWasHeldBack) {
  const SequenceId a = *table_.add(1, 7, /*output_interval=*/100);
  for (const TokenId token : {1, 2, 3}) table_.add_news(a, token_news(token));
  SequenceNews failure;
  failure.failure = absl::InternalError("why");
  table_.add_news(a, std::move(failure));
  table_.flush();
  EXPECT_EQ(one_->sequence(7).tokens, (std::vector<TokenId>{1, 2, 3}));
  EXPECT_EQ(one_->sequence(7).failure, absl::InternalError("why"));
}

TEST_F(SequenceTableTest, FlushTellsWhoDidNotTakeTheirs) {
  table_.add_news(*table_.add(1, 7), token_news(5));
  table_.add_news(*table_.add(2, 7), token_news(5));
  one_->refuse();
  EXPECT_EQ(table_.flush(), (std::vector<SubscriberId>{1}));
  EXPECT_EQ(two_->deliveries().size(), 1u);
}

}  // namespace
}  // namespace octet::worker
