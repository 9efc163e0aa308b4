#include "worker/model/model_config.h"

#include <algorithm>
#include <bit>
#include <boost/json.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status.h"

namespace octet::worker {
namespace {

namespace json = boost::json;

constexpr size_t kMaxConfigBytes = 1 << 20;
constexpr size_t kMaxJsonDepth = 16;

using Keys = std::initializer_list<absl::string_view>;

// A number's limits, both allowed.
struct Limits {
  double min;
  double max;
};

constexpr Limits kAnyVocabulary = {4, 1 << 22};
constexpr Limits kAnyWidth = {1, 1 << 22};
constexpr Limits kAnyHeads = {1, 4096};
constexpr Limits kAnyHeadDim = {1, 1024};
constexpr Limits kAnyLayers = {1, 1024};
constexpr Limits kAnyContext = {1, 1 << 20};
constexpr Limits kAnyEpsilon = {1e-12, 1};
constexpr Limits kAnyTheta = {1, 1e12};
constexpr Limits kAnyFactor = {0, 1};

enum class NumberKind { kReal, kWhole };

json::string_view to_json_view(absl::string_view text) {
  return {text.data(), text.size()};
}

// Reads keys with their aliases, defaults and limits. It keeps the first error, which names the file and the
// key, and goes on with defaults, so that the caller asks once at the end.
class KeyReader {
 public:
  KeyReader(std::string path, const json::object& object) : path_(std::move(path)), object_(object) {}

  const absl::Status& status() const { return status_; }

  void fail(absl::string_view key, absl::string_view what) {
    if (status_.ok()) status_ = absl::InvalidArgumentError(absl::StrCat(path_, ": ", key, " ", what));
  }

  // The value under "key", or "object.key"; nullptr when it is absent or null.
  const json::value* find(absl::string_view key) const {
    const json::object* object = &object_;
    if (const size_t dot = key.find('.'); dot != absl::string_view::npos) {
      const json::value* nested = object_.if_contains(to_json_view(key.substr(0, dot)));
      if (nested == nullptr || !nested->is_object()) return nullptr;
      object = &nested->get_object();
      key.remove_prefix(dot + 1);
    }
    const json::value* value = object->if_contains(to_json_view(key));
    return value == nullptr || value->is_null() ? nullptr : value;
  }

  // The number under the first key that is present; the others are its aliases and must agree with it.
  std::optional<double> number(Keys keys, NumberKind kind, Limits limits) {
    std::optional<double> result;
    absl::string_view result_key;
    for (const absl::string_view key : keys) {
      const json::value* value = find(key);
      if (value == nullptr) continue;
      const std::optional<double> candidate = checked_number(key, *value, kind, limits);
      if (!candidate) return std::nullopt;
      if (!result) {
        result = candidate;
        result_key = key;
      } else if (*candidate != *result) {
        fail(key, absl::StrCat("is ", *candidate, ", but its alias ", result_key, " is ", *result));
      }
    }
    return result;
  }

  double real(Keys keys, Limits limits, double fallback) {
    return number(keys, NumberKind::kReal, limits).value_or(fallback);
  }
  int32_t whole(Keys keys, Limits limits, int32_t fallback) {
    return static_cast<int32_t>(number(keys, NumberKind::kWhole, limits).value_or(fallback));
  }
  int32_t required_whole(absl::string_view key, Limits limits) {
    if (find(key) == nullptr) fail(key, "is missing");
    return whole({key}, limits, 1);
  }

  void expect_false(absl::string_view key, absl::string_view why) {
    const json::value* value = find(key);
    if (value == nullptr) return;
    if (!value->is_bool()) return fail(key, "must be true or false");
    if (value->get_bool()) fail(key, absl::StrCat("true is not supported: ", why));
  }

  void expect_absent(absl::string_view key, absl::string_view why) {
    if (find(key) != nullptr) fail(key, absl::StrCat("must be null: ", why));
  }

  // The text under the key, if it is there, is the expected one.
  void expect_text(absl::string_view key, absl::string_view expected) {
    const json::value* value = find(key);
    if (value != nullptr && !is_text(*value, expected)) fail(key, absl::StrCat("must be \"", expected, "\""));
  }

  static bool is_text(const json::value& value, absl::string_view expected) {
    return value.is_string() && value.get_string() == to_json_view(expected);
  }

 private:
  std::optional<double> checked_number(absl::string_view key, const json::value& value, NumberKind kind,
                                       Limits limits) {
    if (!value.is_number()) {
      fail(key, "must be a number");
      return std::nullopt;
    }
    const double number = value.to_number<double>();
    if (kind == NumberKind::kWhole && number != std::floor(number)) {
      fail(key, absl::StrCat("must be a whole number, given ", number));
      return std::nullopt;
    }
    if (!(number >= limits.min && number <= limits.max)) {
      fail(key, absl::StrFormat("must be in [%.10g, %.10g], given %.10g", limits.min, limits.max, number));
      return std::nullopt;
    }
    return number;
  }

  std::string path_;
  const json::object& object_;
  absl::Status status_;
};

absl::StatusOr<std::string> read_text(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {
    return absl::NotFoundError(absl::StrCat(path, ": no such file"));
  }
  std::ifstream file(path, std::ios::binary);
  std::string text(kMaxConfigBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad() || !file.is_open())
    return absl::InvalidArgumentError(absl::StrCat(path, ": cannot be read"));
  text.resize(static_cast<size_t>(file.gcount()));
  if (text.size() > kMaxConfigBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": is larger than the limit of ", kMaxConfigBytes, " bytes"));
  }
  return text;
}

absl::StatusOr<json::object> parse_object(const std::string& path, const std::string& text) {
  json::parse_options options;
  options.max_depth = kMaxJsonDepth;
  boost::system::error_code error;
  json::value value = json::parse(text, error, {}, options);
  if (error) return absl::InvalidArgumentError(absl::StrCat(path, ": is not valid JSON: ", error.message()));
  if (!value.is_object())
    return absl::InvalidArgumentError(absl::StrCat(path, ": its JSON is not an object"));
  return std::move(value.get_object());
}

// Refuses what the forward pass does not compute.
void check_architecture(KeyReader& reader) {
  const json::value* architectures = reader.find("architectures");
  if (architectures == nullptr || !architectures->is_array() || architectures->get_array().size() != 1 ||
      !KeyReader::is_text(architectures->get_array()[0], "NemotronForCausalLM")) {
    reader.fail("architectures", "must be [\"NemotronForCausalLM\"]");
  }
  reader.expect_text("model_type", "nemotron");
  reader.expect_text("hidden_act", "relu2");
  reader.expect_false("attention_bias", "the attention's projections have no biases");
  reader.expect_false("mlp_bias", "the MLP's projections have no biases");
  reader.expect_false("tie_word_embeddings", "the embedding and the LM head are separate tensors");
  reader.expect_absent("rope_scaling", "scaling of the rotary embedding is not supported");
  if (const json::value* rope = reader.find("rope_parameters"); rope != nullptr && !rope->is_object()) {
    reader.fail("rope_parameters", "must be an object");
  }
  reader.expect_text("rope_parameters.rope_type", "default");
  // What the tensors then are, the checkpoint itself tells.
  if (const json::value* quantization = reader.find("quantization_config"); quantization != nullptr) {
    if (!quantization->is_object()) reader.fail("quantization_config", "must be an object or null");
    if (reader.find("quantization_config.quant_method") == nullptr) {
      reader.fail("quantization_config.quant_method", "is missing");
    }
    reader.expect_text("quantization_config.quant_method", "fp8");
  }
}

void read_sizes(KeyReader& reader, ModelConfig& config) {
  config.vocab_size = reader.required_whole("vocab_size", kAnyVocabulary);
  config.hidden_size = reader.required_whole("hidden_size", kAnyWidth);
  config.intermediate_size = reader.required_whole("intermediate_size", kAnyWidth);
  config.num_layers = reader.required_whole("num_hidden_layers", kAnyLayers);
  config.num_heads = reader.required_whole("num_attention_heads", kAnyHeads);
  config.num_kv_heads = reader.whole({"num_key_value_heads"}, kAnyHeads, config.num_heads);
  if (config.num_heads % config.num_kv_heads != 0) {
    reader.fail("num_key_value_heads", absl::StrCat("must divide num_attention_heads ", config.num_heads,
                                                    ", given ", config.num_kv_heads));
  }
  if (const std::optional<double> head_dim =
          reader.number({"head_dim", "kv_channels"}, NumberKind::kWhole, kAnyHeadDim)) {
    config.head_dim = static_cast<int32_t>(*head_dim);
  } else {
    config.head_dim = config.hidden_size / config.num_heads;
    if (config.head_dim < kAnyHeadDim.min || config.head_dim > kAnyHeadDim.max) {
      reader.fail("head_dim",
                  absl::StrFormat("is missing, and hidden_size / num_attention_heads is not in [%g, %g]",
                                  kAnyHeadDim.min, kAnyHeadDim.max));
    }
  }
  config.max_model_len = reader.whole({"max_position_embeddings"}, kAnyContext, 4096);
}

void read_constants(KeyReader& reader, ModelConfig& config) {
  const double factor = reader.real(
      {"partial_rotary_factor", "rope_percent", "rope_percentage", "rope_parameters.partial_rotary_factor"},
      kAnyFactor, 0.5);
  config.rotary_dim = static_cast<int32_t>(config.head_dim * factor);
  if (config.rotary_dim % 2 != 0 || config.rotary_dim == 0) {
    reader.fail("partial_rotary_factor",
                absl::StrCat("of ", factor, " rotates ", config.rotary_dim, " of ", config.head_dim,
                             " dimensions, not an even number above 0"));
  }
  config.rope_theta =
      static_cast<float>(reader.real({"rope_theta", "rope_parameters.rope_theta"}, kAnyTheta, 10000));
  config.norm_epsilon = static_cast<float>(reader.real({"norm_eps", "layer_norm_eps"}, kAnyEpsilon, 1e-5));
  const Limits any_token = {0, config.vocab_size - 1.0};
  config.bos_token_id = reader.whole({"bos_token_id"}, any_token, 2);
  config.eos_token_id = reader.whole({"eos_token_id"}, any_token, 3);
}

// The folder's last name, also for "model/" and ".".
std::string folder_name(const std::string& model_dir) {
  std::error_code error;
  std::filesystem::path path = std::filesystem::weakly_canonical(model_dir, error);
  if (error) path = model_dir;
  return path.filename().string();
}

// Bytes of bfloat16 weights.
int64_t layer_bytes(const ModelConfig& config) {
  const int64_t hidden = config.hidden_size;
  const int64_t query = int64_t{config.num_heads} * config.head_dim;
  const int64_t key_value = 2 * int64_t{config.num_kv_heads} * config.head_dim;
  const int64_t norms = 4 * hidden;  // two, each weight and bias
  return 2 * (hidden * (2 * query + key_value) + 2 * hidden * config.intermediate_size + norms);
}

int64_t vocabulary_bytes(const ModelConfig& config) {
  return 2 * int64_t{config.vocab_size} * config.hidden_size;
}

// Layers of each stage. Layers weigh the same, so to give each next one to the stage that is lightest then
// makes the heaviest stage as light as can be.
std::vector<int> balanced_split(const ModelConfig& config, int num_stages) {
  const int64_t per_layer = layer_bytes(config);
  std::vector<int> num_layers(static_cast<size_t>(num_stages), 1);
  std::vector<int64_t> bytes(static_cast<size_t>(num_stages), per_layer);
  bytes.front() += vocabulary_bytes(config);
  bytes.back() += vocabulary_bytes(config) + 4 * int64_t{config.hidden_size};  // and the final norm
  for (int layer = num_stages; layer < config.num_layers; ++layer) {
    const auto lightest = std::min_element(bytes.begin(), bytes.end());
    *lightest += per_layer;
    ++num_layers[static_cast<size_t>(lightest - bytes.begin())];
  }
  return num_layers;
}

absl::Status check_split(const ModelConfig& config, int num_stages,
                         const std::vector<int>& layers_per_stage) {
  const auto refuse = [](const std::string& what) { return invalid_field("--layers-per-stage", what); };
  if (std::cmp_not_equal(layers_per_stage.size(), num_stages)) {
    return refuse(absl::StrCat("must have one entry for each of ", num_stages, " stages, given ",
                               layers_per_stage.size()));
  }
  int64_t total = 0;
  for (const int num_layers : layers_per_stage) {
    if (num_layers < 1)
      return refuse(absl::StrCat("every stage needs at least one layer, given ", num_layers));
    total += num_layers;
  }
  if (total != config.num_layers) {
    return refuse(absl::StrCat("must add up to the model's ", config.num_layers, " layers, given ", total));
  }
  return absl::OkStatus();
}

}  // namespace

std::string ModelConfig::digest() const {
  // FNV-1a over the fields as text; floats by their bits.
  const std::string text =
      absl::StrJoin({vocab_size, hidden_size, intermediate_size, num_layers, num_heads, num_kv_heads,
                     head_dim, rotary_dim, std::bit_cast<int32_t>(rope_theta),
                     std::bit_cast<int32_t>(norm_epsilon), max_model_len, bos_token_id, eos_token_id},
                    ",");
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return absl::StrFormat("%016x", hash);
}

absl::StatusOr<ModelConfig> read_model_config(const std::string& model_dir) {
  const std::string path = absl::StrCat(model_dir, "/config.json");
  const auto text = read_text(path);
  if (!text.ok()) return text.status();
  auto config = parse_model_config(*text, path);
  if (config.ok()) config->name = folder_name(model_dir);
  return config;
}

absl::StatusOr<ModelConfig> parse_model_config(const std::string& text, const std::string& path) {
  const auto object = parse_object(path, text);
  if (!object.ok()) return object.status();
  ModelConfig config;
  KeyReader reader(path, *object);
  check_architecture(reader);
  read_sizes(reader, config);
  read_constants(reader, config);
  if (!reader.status().ok()) return reader.status();
  return config;
}

absl::StatusOr<std::vector<LayerRange>> split_layers(const ModelConfig& config, int num_stages,
                                                     const std::vector<int>& layers_per_stage) {
  if (num_stages < 1 || num_stages > config.num_layers) {
    return invalid_field("--stages", absl::StrCat("must be in [1, ", config.num_layers,
                                                  "], the model's layers, given ", num_stages));
  }
  std::vector<int> num_layers = layers_per_stage;
  if (layers_per_stage.empty()) {
    num_layers = balanced_split(config, num_stages);
  } else if (const absl::Status status = check_split(config, num_stages, layers_per_stage); !status.ok()) {
    return status;
  }
  std::vector<LayerRange> ranges;
  int32_t first = 0;
  for (const int count : num_layers) {
    ranges.push_back({first, first + count});
    first += count;
  }
  return ranges;
}

absl::Status check_tensor_parallel(const ModelConfig& config, int num_ranks) {
  const auto refuse = [num_ranks](absl::string_view what, int32_t value) {
    return invalid_field("--tp",
                         absl::StrCat("must divide the model's ", value, " ", what, ", given ", num_ranks));
  };
  if (num_ranks < 1) return invalid_field("--tp", absl::StrCat("must be at least 1, given ", num_ranks));
  if (config.num_heads % num_ranks != 0) return refuse("attention heads", config.num_heads);
  if (config.hidden_size % num_ranks != 0) return refuse("hidden columns", config.hidden_size);
  if (config.intermediate_size % num_ranks != 0) return refuse("FFN columns", config.intermediate_size);
  if (config.vocab_size % num_ranks != 0) return refuse("vocabulary entries", config.vocab_size);
  if (config.num_kv_heads % num_ranks != 0 && num_ranks % config.num_kv_heads != 0) {
    return invalid_field("--tp", absl::StrCat("must divide the model's ", config.num_kv_heads,
                                              " KV heads or be a multiple of them, given ", num_ranks));
  }
  return absl::OkStatus();
}

}  // namespace octet::worker
