// A request as an API parsed it: types are right, ranges are not checked, defaults are not filled in.
// validate() turns it into the ValidatedRequest that everything after the edge takes. Field names are those
// of generation.proto.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "router/grammar/structured_output.h"
#include "router/request/tenant.h"
#include "router/tokenizer/chat_template.h"

namespace octet::router {

struct CallRecord;

// How repetition_penalty changes the logits of tokens seen before.
enum class RepetitionRule {
  kDivideOrMultiply,  // positive logits are divided, negative ones multiplied (generation.proto)
  kDivide,            // every logit is divided (NeMo)
};

struct Chat {
  // Implicit: messages alone are a chat.
  Chat(std::vector<ChatMessage> chat_messages, ChatOptions chat_options = {})
      : messages(std::move(chat_messages)), options(std::move(chat_options)) {}
  std::vector<ChatMessage> messages;
  ChatOptions options;
};

// Nothing, a text, token ids, or a chat.
using Prompt = std::variant<std::monostate, std::string, std::vector<int64_t>, Chat>;

struct RequestDraft {
  std::string model;  // empty: the router's model
  Prompt prompt;
  bool add_bos = false;  // put <s> before the prompt

  std::optional<double> temperature;
  std::optional<int64_t> top_k;
  std::optional<double> top_p;
  std::optional<double> min_p;
  std::optional<double> repetition_penalty;
  RepetitionRule repetition_rule = RepetitionRule::kDivideOrMultiply;
  std::optional<double> presence_penalty;
  std::optional<double> frequency_penalty;
  std::map<int64_t, double> logit_bias;
  std::vector<std::string> bad_words;
  std::optional<uint64_t> seed;

  std::optional<int64_t> max_tokens;
  std::optional<int64_t> min_tokens;
  std::vector<std::string> stop;
  std::vector<int64_t> stop_token_ids;
  bool ignore_eos = false;
  bool include_stop = false;

  std::optional<int64_t> n;
  std::optional<int64_t> logprobs;
  std::optional<int64_t> prompt_logprobs;
  std::string request_id;
  std::optional<double> timeout_seconds;

  std::optional<StructuredOutput> structured_output;
  // What structured_output was compiled to before, for another prompt of the same request.
  std::shared_ptr<const std::string> automaton;

  Tenant tenant;                       // the API's to fill in, not the client's
  std::shared_ptr<CallRecord> record;  // of the call; null: calls are not recorded
  std::optional<int64_t> priority;
  std::string session;  // empty: none
};

}  // namespace octet::router
