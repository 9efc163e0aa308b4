#include "worker/model/weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/worker/checkpoint/checkpoint_writer.h"

namespace octet::worker {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const kernels::Tensor& in_place(const LinearWeight& weight) {
  return std::get<kernels::Tensor>(weight);
}

class WeightsTest : public testing::Test {
 protected:
  RankWeights find(LayerRange layers, int rank, int num_ranks) {
    auto weights = find_rank_weights(*checkpoint_, config_, layers, rank, num_ranks);
    EXPECT_TRUE(weights.ok()) << weights.status();
    return *std::move(weights);
  }

  ModelConfig config_ = read_model_config("deploy/nano").value();
  std::unique_ptr<Checkpoint> checkpoint_ = Checkpoint::open("deploy/nano").value();
};

TEST_F(WeightsTest, AStageHoldsItsEndsOfTheModel) {
  const RankWeights first = find({0, 3}, 0, 1);
  EXPECT_TRUE(first.embedding);
  EXPECT_FALSE(first.head);
  EXPECT_EQ(first.layers.size(), 3u);
  const RankWeights middle = find({3, 5}, 0, 1);
  EXPECT_FALSE(middle.embedding || middle.head);
  const RankWeights last = find({5, 8}, 0, 1);
  EXPECT_FALSE(last.embedding);
  EXPECT_TRUE(last.head);
}

TEST_F(WeightsTest, ARankHoldsItsRowsAndColumnsInPlace) {
  const RankWeights whole = find({0, 8}, 0, 1);
  const RankWeights part = find({0, 8}, 3, 4);
  const LayerWeights& all = whole.layers[2];
  const LayerWeights& mine = part.layers[2];
  EXPECT_EQ(in_place(mine.query).size(0), 64);
  EXPECT_EQ(in_place(mine.query).data<uint16_t>(), in_place(all.query).data<uint16_t>() + 3 * 64 * 128);
  EXPECT_EQ(in_place(mine.key).size(0), 32);
  EXPECT_EQ(in_place(mine.key).data<uint16_t>(), in_place(all.key).data<uint16_t>() + 3 * 32 * 128);
  EXPECT_EQ(in_place(mine.output).size(0), 128);
  EXPECT_EQ(in_place(mine.output).size(1), 64);
  EXPECT_EQ(in_place(mine.output).row_stride(), 256);
  EXPECT_EQ(in_place(mine.output).data<uint16_t>(), in_place(all.output).data<uint16_t>() + 3 * 64);
  EXPECT_EQ(in_place(mine.up).data<uint16_t>(), in_place(all.up).data<uint16_t>() + 3 * 128 * 128);
  EXPECT_EQ(in_place(mine.down).data<uint16_t>(), in_place(all.down).data<uint16_t>() + 3 * 128);
  EXPECT_EQ(mine.attention_norm.weight.data<uint16_t>(), all.attention_norm.weight.data<uint16_t>());
  EXPECT_EQ(part.embedding->data<uint16_t>(), whole.embedding->data<uint16_t>() + 3 * 400 * 128);
  EXPECT_EQ(in_place(part.head->lm_head).data<uint16_t>(),
            in_place(whole.head->lm_head).data<uint16_t>() + 3 * 400 * 128);
}

TEST_F(WeightsTest, RanksBeyondTheKvHeadsShareThem) {
  const RankWeights whole = find({0, 1}, 0, 1);
  for (int rank = 0; rank < 16; ++rank) {
    const RankWeights part = find({0, 1}, rank, 16);
    EXPECT_EQ(in_place(part.layers[0].key).size(0), 16);
    EXPECT_EQ(in_place(part.layers[0].key).data<uint16_t>(),
              in_place(whole.layers[0].key).data<uint16_t>() + rank / 2 * 16 * 128);
    EXPECT_EQ(in_place(part.layers[0].value).data<uint16_t>(),
              in_place(whole.layers[0].value).data<uint16_t>() + rank / 2 * 16 * 128);
  }
}

TEST_F(WeightsTest, AStageNeedsOnlyItsOwnTensors) {
  // The header of the nano model without layer 5.
  TemporaryFolder folder;
  std::string content = read_file("deploy/nano/model.safetensors");
  const std::string name = "\"model.layers.5.mlp.up_proj.weight\"";
  content.replace(content.find(name), name.size(), "\"model.layers.5.mlp.up_proj.wEIGHT\"");
  folder.write("model.safetensors", content);
  const auto checkpoint = Checkpoint::open(folder.path()).value();
  EXPECT_TRUE(find_rank_weights(*checkpoint, config_, {0, 5}, 0, 2).ok());
  EXPECT_TRUE(find_rank_weights(*checkpoint, config_, {6, 8}, 0, 2).ok());
  const absl::Status missing = find_rank_weights(*checkpoint, config_, {4, 6}, 0, 2).status();
  EXPECT_TRUE(absl::IsNotFound(missing)) << missing;
  EXPECT_THAT(std::string(missing.message()), AllOf(HasSubstr(folder.file("model.safetensors")),
                                                    HasSubstr("model.layers.5.mlp.up_proj.weight")));
}

TEST_F(WeightsTest, RefusesTensorsOfAnotherShape) {
  config_.intermediate_size = 256;
  const absl::Status status = find_rank_weights(*checkpoint_, config_, {0, 8}, 0, 2).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("\"model.layers.0.mlp.up_proj.weight\": has shape [512, 128], expected [256, 128]"));
}

}  // namespace
}  // namespace octet::worker
