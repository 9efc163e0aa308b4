#include "router/api/nemo_request.h"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace octet::router {
namespace {

namespace json = boost::json;

constexpr size_t kMaxSentences = 128;
constexpr size_t kMaxEndStrings = 32;
constexpr size_t kMaxEndStringBytes = 256;
constexpr size_t kMaxShownKeyBytes = 64;
constexpr double kMaxTopK = 9e18;                         // that int64 holds; every vocabulary is smaller
constexpr std::string_view kEndOfText = "<|endoftext|>";  // NeMo's name for end of sequence; not a piece

constexpr std::array<std::string_view, 15> kKeys = {"sentences",
                                                    "task_ids",
                                                    "tokens_to_generate",
                                                    "all_probs",
                                                    "temperature",
                                                    "add_BOS",
                                                    "greedy",
                                                    "top_k",
                                                    "top_p",
                                                    "repetition_penalty",
                                                    "end_strings",
                                                    "neighbors",
                                                    "compute_logprob",
                                                    "min_tokens_to_generate",
                                                    "random_seed"};

std::string_view view(json::string_view text) {
  return {text.data(), text.size()};
}

// Reads one key after the other; the first refusal stays.
class NemoFields {
 public:
  explicit NemoFields(const json::object& object) : object_(object) {}

  // Null when absent; NeMo takes null for a value of the wrong type.
  const json::value* find(std::string_view name) const {
    return object_.if_contains({name.data(), name.size()});
  }

  void refuse_unknown_keys() {
    for (const auto& member : object_) {
      const std::string_view key = view(member.key());
      if (std::find(kKeys.begin(), kKeys.end(), key) == kKeys.end()) {
        refuse(absl::StrCat("unknown key '", absl_view(key.substr(0, kMaxShownKeyBytes)), "'"));
      }
    }
  }

  void read_boolean(std::string_view name, bool& out) {
    const json::value* value = find(name);
    if (value == nullptr) return;
    if (!value->is_bool()) return refuse(absl::StrCat(absl_view(name), " must be a boolean value"));
    out = value->get_bool();
  }

  // A Python int, which a boolean is as well; more than int64 holds is the most that it holds.
  void read_integer(std::string_view name, int64_t min, std::string_view refusal, int64_t& out) {
    const json::value* value = find(name);
    if (value == nullptr) return;
    const std::optional<int64_t> number = python_int(*value);
    if (!number || *number < min) return refuse(refusal);
    out = *number;
  }

  // A Python int or float, which a boolean is not here.
  void read_number(std::string_view name, double min, double max, std::string_view refusal, double& out) {
    const json::value* value = find(name);
    if (value == nullptr) return;
    if (!value->is_number()) return refuse(refusal);
    const double number = value->to_number<double>();
    if (!(number >= min && number <= max)) return refuse(refusal);
    out = number;
  }

  void refuse(std::string_view message) {
    if (refusal_.ok()) refusal_ = absl::InvalidArgumentError(absl_view(message));
  }

  const absl::Status& status() const { return refusal_; }

  static std::optional<int64_t> python_int(const json::value& value) {
    if (value.is_bool()) return value.get_bool() ? 1 : 0;
    if (value.is_int64()) return value.get_int64();
    if (value.is_uint64()) return std::numeric_limits<int64_t>::max();
    return std::nullopt;
  }

 private:
  const json::object& object_;
  absl::Status refusal_;
};

std::optional<std::vector<std::string>> string_list(const json::value& value) {
  const json::array* elements = value.if_array();
  if (elements == nullptr) return std::nullopt;
  std::vector<std::string> texts;
  for (const json::value& element : *elements) {
    const json::string* text = element.if_string();
    if (text == nullptr) return std::nullopt;
    texts.emplace_back(view(*text));
  }
  return texts;
}

void read_sentences(NemoFields& fields, NemoRequest& request) {
  const json::value* value = fields.find("sentences");
  if (value == nullptr) return fields.refuse("sentences must be given");
  if (value->is_array() && value->get_array().size() > kMaxSentences) {
    return fields.refuse(absl::StrCat("Maximum number of sentences is ", kMaxSentences));
  }
  auto sentences = string_list(*value);
  if (!sentences) return fields.refuse("sentences must be a list of strings");
  if (sentences->empty()) return fields.refuse("sentences must hold at least one string");
  request.sentences = *std::move(sentences);
}

void read_end_strings(NemoFields& fields, NemoRequest& request) {
  const json::value* value = fields.find("end_strings");
  if (value == nullptr) return;
  auto end_strings = string_list(*value);
  if (!end_strings) return fields.refuse("expect end_strings to be a list of strings");
  if (end_strings->size() > kMaxEndStrings) {
    return fields.refuse(absl::StrCat("end_strings must hold at most ", kMaxEndStrings, " strings, got ",
                                      end_strings->size()));
  }
  for (const std::string& text : *end_strings) {
    if (text.size() > kMaxEndStringBytes) {
      return fields.refuse(absl::StrCat("end_strings must have at most ", kMaxEndStringBytes,
                                        " bytes each, got ", text.size()));
    }
  }
  request.end_strings = *std::move(end_strings);
}

// NeMo lets any number >= 0 through here and fails later on one with a fraction.
void read_top_k(NemoFields& fields, NemoRequest& request) {
  double top_k = 0;
  fields.read_number("top_k", 0, kMaxTopK, "top_k must be a positive integer number", top_k);
  if (top_k != std::floor(top_k)) fields.refuse("top_k must be a positive integer number");
  request.top_k = static_cast<int64_t>(top_k);
}

// Used by NeMo's retrieval models only: checked, then without effect, as in NeMo.
void check_neighbors(NemoFields& fields) {
  const json::value* value = fields.find("neighbors");
  int64_t ignored = 0;
  if (value == nullptr || value->is_null()) return;
  fields.read_integer("neighbors", 0, "num of neighbors must be an integer no less than 0", ignored);
}

void read_random_seed(NemoFields& fields, NemoRequest& request) {
  const json::value* value = fields.find("random_seed");
  if (value == nullptr || value->is_null()) return;
  const std::optional<int64_t> seed = NemoFields::python_int(*value);
  if (!seed || *seed < 0) return fields.refuse("random_seed must be a positive integer number or None");
  request.random_seed = value->is_uint64() ? value->get_uint64() : static_cast<uint64_t>(*seed);
}

}  // namespace

absl::StatusOr<NemoRequest> parse_nemo_request(const json::value& body) {
  if (!body.is_object()) return absl::InvalidArgumentError("the body must be a JSON object");
  NemoFields fields(body.get_object());
  NemoRequest request;
  fields.refuse_unknown_keys();
  read_sentences(fields, request);
  if (fields.find("task_ids") != nullptr) {
    fields.refuse(
        absl::StrCat("Input at 'sentences' must by a tuple of two tensors like:", std::string(20, ' '),
                     "(context_tokens_tensor, context_length_tensor) if task ids are given"));
  }
  fields.read_integer("tokens_to_generate", 1, "tokens_to_generate must be an integer greater than 0",
                      request.tokens_to_generate);
  bool all_probs = false;
  fields.read_boolean("all_probs", all_probs);
  if (all_probs)
    fields.refuse("all_probs must be false: the full distribution of every token is not returned");
  fields.read_number("temperature", std::numeric_limits<double>::denorm_min(), 100,
                     "temperature must be a positive number less than or equal to 100.0",
                     request.temperature);
  fields.read_boolean("add_BOS", request.add_bos);
  fields.read_boolean("greedy", request.greedy);
  read_top_k(fields, request);
  fields.read_number("top_p", 0, 1, "top_p must be a positive number less than or equal to 1.0",
                     request.top_p);
  fields.read_number("repetition_penalty", 1, std::numeric_limits<double>::max(),
                     "repetition_penalty must be a positive number no less than 1.0",
                     request.repetition_penalty);
  read_end_strings(fields, request);
  fields.read_integer("min_tokens_to_generate", 0, "min_tokens_to_generate must be an integer no less than 0",
                      request.min_tokens_to_generate);
  check_neighbors(fields);
  fields.read_boolean("compute_logprob", request.compute_logprob);
  read_random_seed(fields, request);
  if (!fields.status().ok()) return fields.status();
  return request;
}

NemoEnd resolve_end_strings(const std::vector<std::string>& end_strings, const Tokenizer& tokenizer) {
  NemoEnd end{.tokens = {tokenizer.eos_id()}, .texts = {}};
  const std::string marker = "<extra_id_1>";
  const std::vector<TokenId> marker_ids = tokenizer.encode(marker);
  for (const std::string& text : end_strings) {
    if (text == kEndOfText) continue;
    const std::vector<TokenId> ids = tokenizer.encode(marker + text);
    if (ids.size() == marker_ids.size() + 1 &&
        std::equal(marker_ids.begin(), marker_ids.end(), ids.begin())) {
      end.tokens.push_back(ids.back());
    } else {
      end.texts.push_back(text);
    }
  }
  return end;
}

RequestDraft nemo_draft(const NemoRequest& request, const NemoEnd& end) {
  RequestDraft draft;
  draft.add_bos = request.add_bos;
  draft.max_tokens = request.tokens_to_generate;
  draft.min_tokens = std::min(request.min_tokens_to_generate, request.tokens_to_generate);
  draft.ignore_eos = true;  // the end tokens are all in the list, and the end of a turn is not one of itself
  draft.include_stop = true;
  draft.stop_token_ids.assign(end.tokens.begin(), end.tokens.end());
  if (request.compute_logprob) {
    draft.logprobs = 0;
    draft.prompt_logprobs = 0;
  }
  if (request.greedy) {
    draft.temperature = 0;  // the largest raw logit: no penalty, no filter
    return draft;
  }
  draft.temperature = request.temperature;
  draft.top_k = request.top_k;
  draft.top_p = request.top_p > 0 ? request.top_p : 1.0;
  // NeMo keeps the list of used tokens only while it computes log-probabilities; without it the penalty does
  // nothing.
  if (request.compute_logprob) {
    draft.repetition_penalty = request.repetition_penalty;
    draft.repetition_rule = RepetitionRule::kDivide;
  }
  return draft;
}

}  // namespace octet::router
