#include "worker/model/model_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <optional>
#include <set>

#include "base/status.h"
#include "tests/worker/checkpoint/checkpoint_writer.h"

namespace octet::worker {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

// A config with the fields that have no default, and these after them.
absl::StatusOr<ModelConfig> read_with(const std::string& more, const std::string& remove = "") {
  std::string text = R"({"architectures":["NemotronForCausalLM"],"model_type":"nemotron","vocab_size":256000,
    "hidden_size":4096,"intermediate_size":16384,"num_hidden_layers":32,"num_attention_heads":32)";
  if (const size_t at = text.find(remove); !remove.empty() && at != std::string::npos) {
    text.erase(at, text.find_first_of(",", at) + 1 - at);
  }
  TemporaryFolder folder;
  folder.write("config.json", text + more + "}");
  return read_model_config(folder.path());
}

ModelConfig must_read_with(const std::string& more) {
  const auto config = read_with(more);
  EXPECT_TRUE(config.ok()) << config.status();
  return config.value_or(ModelConfig{});
}

ModelConfig nemotron_340b() {
  return must_read_with(R"(,"num_key_value_heads":8,"head_dim":192)");
}

ModelConfig sized(int32_t num_layers, int32_t vocab_size) {
  ModelConfig config;
  config.vocab_size = vocab_size;
  config.hidden_size = 16;
  config.intermediate_size = 64;
  config.num_layers = num_layers;
  config.num_heads = config.num_kv_heads = 2;
  config.head_dim = 8;
  return config;
}

TEST(ModelConfig, ReadsTheNanoModel) {
  const auto config = read_model_config("deploy/nano");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->name, "nano");
  EXPECT_EQ(config->vocab_size, 1600);
  EXPECT_EQ(config->hidden_size, 128);
  EXPECT_EQ(config->intermediate_size, 512);
  EXPECT_EQ(config->num_layers, 8);
  EXPECT_EQ(config->num_heads, 16);
  EXPECT_EQ(config->num_kv_heads, 8);
  EXPECT_EQ(config->head_dim, 16);
  EXPECT_EQ(config->rotary_dim, 8);
  EXPECT_EQ(config->max_model_len, 4096);
}

TEST(ModelConfig, HasTheFamilysDefaults) {
  const ModelConfig config = must_read_with("");
  EXPECT_EQ(config.num_kv_heads, 32);
  EXPECT_EQ(config.head_dim, 128);
  EXPECT_EQ(config.rotary_dim, 64);
  EXPECT_EQ(config.rope_theta, 10000);
  EXPECT_EQ(config.norm_epsilon, 1e-5f);
  EXPECT_EQ(config.max_model_len, 4096);
  EXPECT_EQ(config.bos_token_id, 2);
  EXPECT_EQ(config.eos_token_id, 3);
  EXPECT_EQ(must_read_with(R"(,"head_dim":null,"num_key_value_heads":null,"rope_scaling":null)").digest(),
            config.digest());
}

TEST(ModelConfig, TakesEveryAlias) {
  EXPECT_EQ(must_read_with(R"(,"kv_channels":192)").head_dim, 192);
  EXPECT_EQ(must_read_with(R"(,"head_dim":null,"kv_channels":192)").head_dim, 192);
  EXPECT_EQ(must_read_with(R"(,"rope_percent":0.25)").rotary_dim, 32);
  EXPECT_EQ(must_read_with(R"(,"rope_percentage":1)").rotary_dim, 128);
  EXPECT_EQ(must_read_with(R"(,"partial_rotary_factor":0.75)").rotary_dim, 96);
  EXPECT_EQ(must_read_with(R"(,"layer_norm_eps":1e-6)").norm_epsilon, 1e-6f);
  const ModelConfig nested = must_read_with(
      R"(,"rope_parameters":{"rope_theta":500000.0,"rope_type":"default","partial_rotary_factor":0.25})");
  EXPECT_EQ(nested.rope_theta, 500000);
  EXPECT_EQ(nested.rotary_dim, 32);
}

struct BadConfig {
  std::string fields;
  std::string key;
  std::string message;
};

class ModelConfigError : public testing::TestWithParam<BadConfig> {};

TEST_P(ModelConfigError, NamesFileAndKey) {
  const absl::Status status = read_with(GetParam().fields).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("/config.json: " + GetParam().key + " "), HasSubstr(GetParam().message)));
}

INSTANTIATE_TEST_SUITE_P(
    All, ModelConfigError,
    testing::Values(
        BadConfig{R"(,"attention_bias":true)", "attention_bias", "true is not supported"},
        BadConfig{R"(,"attention_bias":"no")", "attention_bias", "true or false"},
        BadConfig{R"(,"mlp_bias":true)", "mlp_bias", "true is not supported"},
        BadConfig{R"(,"tie_word_embeddings":true)", "tie_word_embeddings", "true is not supported"},
        BadConfig{R"(,"hidden_act":"silu")", "hidden_act", "\"relu2\""},
        BadConfig{R"(,"model_type":"llama")", "model_type", "\"nemotron\""},
        BadConfig{R"(,"architectures":["LlamaForCausalLM"])", "architectures", "NemotronForCausalLM"},
        BadConfig{R"(,"architectures":"NemotronForCausalLM")", "architectures", "NemotronForCausalLM"},
        BadConfig{R"(,"rope_scaling":{"type":"linear","factor":2.0})", "rope_scaling", "null"},
        BadConfig{R"(,"rope_parameters":{"rope_type":"linear"})", "rope_parameters.rope_type", "default"},
        BadConfig{R"(,"rope_parameters":7)", "rope_parameters", "an object"},
        BadConfig{R"(,"rope_theta":1e4,"rope_parameters":{"rope_theta":2e4})", "rope_parameters.rope_theta",
                  "its alias rope_theta is 10000"},
        BadConfig{R"(,"quantization_config":7)", "quantization_config", "an object"},
        BadConfig{R"(,"quantization_config":{})", "quantization_config.quant_method", "missing"},
        BadConfig{R"(,"quantization_config":{"quant_method":"awq"})", "quantization_config.quant_method",
                  "must be \"fp8\""},
        BadConfig{R"(,"head_dim":128,"kv_channels":64)", "kv_channels", "alias head_dim is 128"},
        BadConfig{R"(,"vocab_size":0)", "vocab_size", "given 0"},
        BadConfig{R"(,"vocab_size":-5)", "vocab_size", "given -5"},
        BadConfig{R"(,"vocab_size":1e300)", "vocab_size", "given 1e+300"},
        BadConfig{R"(,"hidden_size":4096.5)", "hidden_size", "whole number"},
        BadConfig{R"(,"hidden_size":"4096")", "hidden_size", "must be a number"},
        BadConfig{R"(,"num_hidden_layers":18446744073709551615)", "num_hidden_layers", "must be in"},
        BadConfig{R"(,"num_key_value_heads":5)", "num_key_value_heads", "must divide"},
        BadConfig{R"(,"num_attention_heads":4097)", "num_attention_heads", "must be in"},
        BadConfig{R"(,"hidden_size":16)", "head_dim", "is missing"},
        BadConfig{R"(,"head_dim":3)", "partial_rotary_factor", "rotates 1 of 3"},
        BadConfig{R"(,"partial_rotary_factor":1.5)", "partial_rotary_factor", "given 1.5"},
        BadConfig{R"(,"partial_rotary_factor":0)", "partial_rotary_factor", "rotates 0"},
        BadConfig{R"(,"rope_theta":0)", "rope_theta", "given 0"},
        BadConfig{R"(,"norm_eps":-1e-5)", "norm_eps", "must be in"},
        BadConfig{R"(,"max_position_embeddings":0)", "max_position_embeddings", "given 0"},
        BadConfig{R"(,"eos_token_id":256000)", "eos_token_id", "given 256000"},
        BadConfig{R"(,"eos_token_id":[2,3])", "eos_token_id", "must be a number"}));

TEST(ModelConfig, RefusesAMissingKey) {
  for (const char* key : {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers"}) {
    const absl::Status status = read_with(R"(,"x":0)", "\"" + std::string(key) + "\"").status();
    EXPECT_THAT(std::string(status.message()), HasSubstr(std::string(key) + " is missing"));
  }
}

TEST(ModelConfig, RefusesAFileThatIsNoConfig) {
  TemporaryFolder folder;
  EXPECT_TRUE(absl::IsNotFound(read_model_config(folder.path()).status()));
  folder.write("config.json", "{");
  EXPECT_THAT(std::string(read_model_config(folder.path()).status().message()), HasSubstr("not valid JSON"));
  folder.write("config.json", std::string(100000, '['));
  EXPECT_THAT(std::string(read_model_config(folder.path()).status().message()), HasSubstr("not valid JSON"));
  folder.write("config.json", "[]");
  EXPECT_THAT(std::string(read_model_config(folder.path()).status().message()), HasSubstr("not an object"));
  folder.write("config.json", std::string((1 << 20) + 1, ' '));
  EXPECT_THAT(std::string(read_model_config(folder.path()).status().message()),
              HasSubstr("limit of 1048576"));
}

TEST(ModelConfig, DigestDependsOnEveryFieldButTheName) {
  const ModelConfig config = nemotron_340b();
  std::set<std::string> digests = {config.digest()};
  const std::vector<std::function<void(ModelConfig&)>> changes = {
      [](ModelConfig& c) { ++c.vocab_size; },        [](ModelConfig& c) { ++c.hidden_size; },
      [](ModelConfig& c) { ++c.intermediate_size; }, [](ModelConfig& c) { ++c.num_layers; },
      [](ModelConfig& c) { ++c.num_heads; },         [](ModelConfig& c) { ++c.num_kv_heads; },
      [](ModelConfig& c) { ++c.head_dim; },          [](ModelConfig& c) { ++c.rotary_dim; },
      [](ModelConfig& c) { c.rope_theta = 5e5f; },   [](ModelConfig& c) { c.norm_epsilon = 2e-5f; },
      [](ModelConfig& c) { ++c.max_model_len; },     [](ModelConfig& c) { ++c.bos_token_id; },
      [](ModelConfig& c) { ++c.eos_token_id; }};
  for (const auto& change : changes) {
    ModelConfig changed = config;
    change(changed);
    EXPECT_TRUE(digests.insert(changed.digest()).second);
  }
  ModelConfig renamed = config;
  renamed.name = "another";
  EXPECT_EQ(renamed.digest(), config.digest());
  EXPECT_EQ(config.digest().size(), 16u);
}

std::vector<int32_t> sizes_of(const absl::StatusOr<std::vector<LayerRange>>& ranges) {
  EXPECT_TRUE(ranges.ok()) << ranges.status();
  std::vector<int32_t> sizes;
  int32_t end = 0;
  for (const LayerRange& range : ranges.value_or(std::vector<LayerRange>{})) {
    EXPECT_EQ(range.first, end);
    end = range.end;
    sizes.push_back(range.size());
  }
  return sizes;
}

TEST(SplitLayers, Splits340BEvenlyOverTwoStages) {
  ModelConfig config = nemotron_340b();
  config.hidden_size = 18432;
  config.intermediate_size = 73728;
  config.num_layers = 96;
  config.num_heads = 96;
  EXPECT_THAT(sizes_of(split_layers(config, 2, {})), ElementsAre(48, 48));
  // The embedding and the LM head weigh 1.37 layers each: the stages in the middle take more.
  EXPECT_THAT(sizes_of(split_layers(config, 4, {})), ElementsAre(23, 25, 25, 23));
  EXPECT_THAT(sizes_of(split_layers(config, 1, {})), ElementsAre(96));
  EXPECT_THAT(sizes_of(split_layers(config, 2, {50, 46})), ElementsAre(50, 46));
}

// Bytes of the heaviest stage of any split, found by trying all of them.
int64_t least_maximum(int64_t layer, int64_t first_extra, int64_t last_extra, int num_layers, int num_stages,
                      int stage = 0) {
  const int64_t extra = (stage == 0 ? first_extra : 0) + (stage == num_stages - 1 ? last_extra : 0);
  if (stage == num_stages - 1) return num_layers * layer + extra;
  int64_t best = INT64_MAX;
  for (int take = 1; take <= num_layers - (num_stages - stage - 1); ++take) {
    best = std::min(
        best, std::max(take * layer + extra, least_maximum(layer, first_extra, last_extra, num_layers - take,
                                                           num_stages, stage + 1)));
  }
  return best;
}

TEST(SplitLayers, MakesTheHeaviestStageAsLightAsCanBe) {
  for (const int32_t vocab_size : {4, 100, 250, 1000}) {
    for (int num_layers = 1; num_layers <= 9; ++num_layers) {
      const ModelConfig config = sized(num_layers, vocab_size);
      const int64_t layer = 2 * (4 * 16 * 16 + 2 * 16 * 64 + 4 * 16);
      const int64_t vocabulary = 2 * 16 * vocab_size;
      for (int num_stages = 1; num_stages <= num_layers; ++num_stages) {
        const std::vector<int32_t> sizes = sizes_of(split_layers(config, num_stages, {}));
        ASSERT_EQ(static_cast<int>(sizes.size()), num_stages);
        EXPECT_EQ(std::accumulate(sizes.begin(), sizes.end(), 0), num_layers);
        int64_t heaviest = 0;
        for (int stage = 0; stage < num_stages; ++stage) {
          EXPECT_GE(sizes[static_cast<size_t>(stage)], 1);
          heaviest =
              std::max(heaviest, sizes[static_cast<size_t>(stage)] * layer + (stage == 0 ? vocabulary : 0) +
                                     (stage == num_stages - 1 ? vocabulary + 2 * 2 * 16 : 0));
        }
        EXPECT_EQ(heaviest, least_maximum(layer, vocabulary, vocabulary + 2 * 2 * 16, num_layers, num_stages))
            << num_layers << " layers, " << num_stages << " stages, vocabulary " << vocab_size;
      }
    }
  }
}

TEST(SplitLayers, RefusesByFlag) {
  const ModelConfig config = sized(8, 100);
  EXPECT_EQ(field_of(split_layers(config, 0, {}).status()), "--stages");
  EXPECT_EQ(field_of(split_layers(config, 9, {}).status()), "--stages");
  EXPECT_EQ(field_of(split_layers(config, 2, {8}).status()), "--layers-per-stage");
  EXPECT_EQ(field_of(split_layers(config, 2, {8, 0}).status()), "--layers-per-stage");
  EXPECT_EQ(field_of(split_layers(config, 2, {4, 5}).status()), "--layers-per-stage");
  EXPECT_EQ(field_of(split_layers(config, 3, {INT32_MAX, INT32_MAX, 10}).status()), "--layers-per-stage");
}

TEST(CheckTensorParallel, TakesDivisorsAndReplicatesKvHeads) {
  const ModelConfig config = *read_model_config("deploy/nano");
  for (const int num_ranks : {1, 2, 4, 8, 16})
    EXPECT_TRUE(check_tensor_parallel(config, num_ranks).ok()) << num_ranks;
  for (const int num_ranks : {-1, 0, 3, 5, 32}) {
    EXPECT_EQ(field_of(check_tensor_parallel(config, num_ranks)), "--tp") << num_ranks;
  }
  ModelConfig odd = config;
  odd.vocab_size = 1601;
  EXPECT_THAT(std::string(check_tensor_parallel(odd, 2).message()), HasSubstr("1601 vocabulary entries"));
  odd = config;
  odd.hidden_size = 127;
  EXPECT_THAT(std::string(check_tensor_parallel(odd, 2).message()), HasSubstr("127 hidden columns"));
  odd = config;
  odd.intermediate_size = 511;
  EXPECT_THAT(std::string(check_tensor_parallel(odd, 2).message()), HasSubstr("511 FFN columns"));
  odd = config;
  odd.num_kv_heads = 3;
  EXPECT_THAT(std::string(check_tensor_parallel(odd, 2).message()), HasSubstr("3 KV heads"));
}

}  // namespace
}  // namespace octet::worker
