#include "router/api/openai_response.h"

#include <algorithm>
#include <boost/json.hpp>
#include <string_view>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/utf8.h"

namespace octet::router {
namespace {

namespace json = boost::json;

// OpenAI's figure for a token that is as good as impossible; JSON has no infinity.
constexpr double kLowestLogprob = -9999;

double shown_logprob(float logprob) {
  return std::max<double>(logprob, kLowestLogprob);
}

// Control tokens add no bytes to a text and are shown as their pieces.
std::string_view token_bytes(const Tokenizer& tokenizer, TokenId token) {
  return tokenizer.is_control(token) ? tokenizer.piece(token) : tokenizer.bytes(token);
}

std::string completion_token(const Tokenizer& tokenizer, TokenId token) {
  const std::string_view bytes = token_bytes(tokenizer, token);
  if (is_valid_utf8(bytes)) return std::string(bytes);
  std::string text = "bytes:";
  for (const char c : bytes) {
    absl::StrAppend(&text, "\\x", absl::Hex(static_cast<unsigned char>(c), absl::kZeroPad2));
  }
  return text;
}

json::object chat_token(const Tokenizer& tokenizer, TokenId token, float logprob) {
  const std::string_view bytes = token_bytes(tokenizer, token);
  json::array byte_values;
  byte_values.reserve(bytes.size());
  for (const char c : bytes) byte_values.emplace_back(static_cast<unsigned char>(c));
  return {{"token", replace_invalid_utf8(bytes)},
          {"logprob", shown_logprob(logprob)},
          {"bytes", std::move(byte_values)}};
}

// The alternatives, and the token itself if it is not one of them.
std::vector<std::pair<TokenId, float>> with_token(const TokenLogprob& token, uint32_t num_top) {
  std::vector<std::pair<TokenId, float>> tokens(
      token.top.begin(), token.top.begin() + std::min<size_t>(num_top, token.top.size()));
  const bool listed =
      std::any_of(tokens.begin(), tokens.end(), [&](const auto& top) { return top.first == token.token; });
  if (!listed) tokens.emplace_back(token.token, token.logprob);
  return tokens;
}

}  // namespace

json::object answer_object(const AnswerHead& head) {
  return {{"id", head.id},
          {"object", head.object},
          {"created", head.created},
          {"model", head.model},
          {"system_fingerprint", "octet-" + head.backend},
          {"seed", head.seed}};
}

json::object usage_object(const GenerationUsage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", uint64_t{usage.prompt_tokens} + usage.completion_tokens},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}}}};
}

json::value finish_reason_value(const std::optional<FinishReason>& finish) {
  if (!finish) return nullptr;
  return *finish == FinishReason::kStop ? "stop" : "length";
}

json::value stop_reason_value(const Piece& piece) {
  if (piece.finish == FinishReason::kDeadline) return "deadline";
  if (piece.finish == FinishReason::kCancelled) return "cancelled";
  if (piece.stop_reason.empty()) return nullptr;
  return json::value(piece.stop_reason);
}

std::string sse_event(const std::string& data) {
  return "data: " + data + "\n\n";
}

struct CompletionLogprobs::Lists {
  json::array tokens;
  json::array token_logprobs;
  json::array top_logprobs;
  json::array text_offsets;
};

CompletionLogprobs::CompletionLogprobs(const Tokenizer& tokenizer, uint32_t num_top, uint64_t text_offset)
    : tokenizer_(tokenizer),
      num_top_(num_top),
      text_offset_(text_offset),
      lists_(std::make_unique<Lists>()) {}

CompletionLogprobs::~CompletionLogprobs() = default;

void CompletionLogprobs::add_first(TokenId token) {
  add_token(token, tokenizer_.strips_leading_space());
  lists_->token_logprobs.emplace_back(nullptr);
  lists_->top_logprobs.emplace_back(nullptr);
}

void CompletionLogprobs::add(const TokenLogprob& token) {
  add_token(token.token, false);
  lists_->token_logprobs.emplace_back(shown_logprob(token.logprob));
  json::object top;
  for (const auto& [id, logprob] : with_token(token, num_top_)) {
    // Two tokens may have one text; the more likely one comes first and stays.
    top.emplace(completion_token(tokenizer_, id), shown_logprob(logprob));
  }
  lists_->top_logprobs.emplace_back(std::move(top));
}

void CompletionLogprobs::add_token(TokenId token, bool drops_space) {
  lists_->tokens.emplace_back(completion_token(tokenizer_, token));
  lists_->text_offsets.emplace_back(text_offset_);
  std::string_view bytes = tokenizer_.bytes(token);
  if (drops_space && bytes.starts_with(' ')) bytes.remove_prefix(1);
  // Every character counts where its first byte is.
  text_offset_ += std::count_if(bytes.begin(), bytes.end(),
                                [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

json::object CompletionLogprobs::take() {
  json::value top = num_top_ > 0 ? json::value(std::move(lists_->top_logprobs)) : json::value(nullptr);
  json::object object{{"tokens", std::move(lists_->tokens)},
                      {"token_logprobs", std::move(lists_->token_logprobs)},
                      {"top_logprobs", std::move(top)},
                      {"text_offset", std::move(lists_->text_offsets)}};
  *lists_ = {};
  return object;
}

json::object chat_logprobs(const Tokenizer& tokenizer, std::span<const TokenLogprob> tokens) {
  json::array content;
  content.reserve(tokens.size());
  for (const TokenLogprob& token : tokens) {
    json::object entry = chat_token(tokenizer, token.token, token.logprob);
    json::array top;
    for (const auto& [id, logprob] : token.top) top.push_back(chat_token(tokenizer, id, logprob));
    entry["top_logprobs"] = std::move(top);
    content.push_back(std::move(entry));
  }
  return {{"content", std::move(content)}, {"refusal", nullptr}};
}

json::array prompt_logprobs_array(const Tokenizer& tokenizer, std::span<const TokenLogprob> tokens,
                                  uint32_t num_top) {
  json::array positions;
  positions.reserve(tokens.size() + 1);
  positions.emplace_back(nullptr);
  for (const TokenLogprob& token : tokens) {
    json::object position;
    for (const auto& [id, logprob] : with_token(token, num_top)) {
      position[std::to_string(id)] = {{"logprob", shown_logprob(logprob)},
                                      {"decoded_token", completion_token(tokenizer, id)}};
    }
    positions.push_back(std::move(position));
  }
  return positions;
}

}  // namespace octet::router
