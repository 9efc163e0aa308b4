// The parts of OpenAI's answers: ids and models around them, usage, finish reasons, log-probabilities,
// server-sent events.
#pragma once

#include <boost/json/fwd.hpp>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "router/generation/generation.h"
#include "router/request/validated_request.h"
#include "router/tokenizer/tokenizer.h"

namespace octet::router {

// What stands around the choices.
struct AnswerHead {
  std::string id;       // "cmpl-...", "chatcmpl-..."
  std::string object;   // "text_completion", "chat.completion", "chat.completion.chunk"
  int64_t created = 0;  // Unix time in seconds
  std::string model;
  std::string backend;  // told in system_fingerprint
  uint64_t seed = 0;    // an extension: what to send as seed to get the same answer again
};

// Everything but choices and usage.
boost::json::object answer_object(const AnswerHead& head);
boost::json::object usage_object(const GenerationUsage& usage);

// OpenAI knows no deadline: it reads "length", and stop_reason says "deadline".
boost::json::value finish_reason_value(const std::optional<FinishReason>& finish);
// An extension: the stop string or the stop token's piece; null when neither ended the choice.
boost::json::value stop_reason_value(const Piece& piece);

// "data: ...\n\n"
std::string sse_event(const std::string& data);

// Completions: {"tokens", "token_logprobs", "top_logprobs", "text_offset"}. A token whose bytes are no whole
// characters reads "bytes:\xe2\x80", as OpenAI writes it.
class CompletionLogprobs {
 public:
  // text_offset: characters of the choice's text before the first token that is added. num_top 0: no
  // top_logprobs.
  CompletionLogprobs(const Tokenizer& tokenizer, uint32_t num_top, uint64_t text_offset);
  ~CompletionLogprobs();

  // A prompt's first token, which nothing predicts; drops_space as the prompt's text does.
  void add_first(TokenId token);
  void add(const TokenLogprob& token);
  boost::json::object take();
  uint64_t text_offset() const { return text_offset_; }

 private:
  void add_token(TokenId token, bool drops_space);

  const Tokenizer& tokenizer_;
  const uint32_t num_top_;
  uint64_t text_offset_;
  struct Lists;
  std::unique_ptr<Lists> lists_;
};

// Chat: {"content": [{"token", "logprob", "bytes", "top_logprobs"}], "refusal": null}.
boost::json::object chat_logprobs(const Tokenizer& tokenizer, std::span<const TokenLogprob> tokens);

// vLLM's extension: null for the first token, then {"<id>": {"logprob", "decoded_token"}} for each.
boost::json::array prompt_logprobs_array(const Tokenizer& tokenizer, std::span<const TokenLogprob> tokens,
                                         uint32_t num_top);

}  // namespace octet::router
