#include "router/api/nemo_response.h"

#include <algorithm>
#include <boost/json.hpp>
#include <span>

#include "base/utf8.h"
#include "router/api/json_text.h"
#include "router/tokenizer/detokenizer.h"

namespace octet::router {
namespace {

namespace json = boost::json;

size_t num_characters(std::string_view text) {
  size_t count = 0;
  for (; !text.empty(); ++count) text.remove_prefix(scan_utf8(text).num_bytes);
  return count;
}

std::string text_of(const NemoSentence& sentence, const std::shared_ptr<const Tokenizer>& tokenizer) {
  const std::span<const TokenId> tokens = sentence.tokens;
  Detokenizer detokenizer = Detokenizer::after(tokenizer, tokens.first(sentence.num_prompt_tokens));
  std::string text = sentence.prompt;
  for (const TokenId token : tokens.subspan(sentence.num_prompt_tokens)) text += detokenizer.add(token);
  return text + detokenizer.finish();
}

json::string piece_of(const Tokenizer& tokenizer, TokenId token) {
  const std::string_view piece = tokenizer.piece(token);
  return json::string(piece.data(), piece.size());
}

struct Rows {
  json::array sentences;
  json::array token_ids;
  json::array tokens;
  json::array offsets;
  json::array logprobs;
};

void append_row(const NemoSentence& sentence, size_t length,
                const std::shared_ptr<const Tokenizer>& tokenizer, Rows& rows) {
  std::vector<TokenId> filled = sentence.tokens;
  filled.resize(length, tokenizer->eos_id());
  json::array ids, pieces, offsets;
  size_t offset = 0;
  for (const TokenId token : filled) {
    ids.emplace_back(token);
    pieces.emplace_back(piece_of(*tokenizer, token));
    offsets.emplace_back(offset);
    if (!tokenizer->is_control(token)) offset += num_characters(tokenizer->piece(token));
  }
  std::vector<double> logprobs = sentence.logprobs;
  logprobs.resize(length - 1, 0.0);
  rows.sentences.emplace_back(text_of(sentence, tokenizer));
  rows.token_ids.push_back(std::move(ids));
  rows.tokens.push_back(std::move(pieces));
  rows.offsets.push_back(std::move(offsets));
  rows.logprobs.emplace_back(json::array(logprobs.begin(), logprobs.end()));
}

}  // namespace

std::string nemo_answer(const std::vector<NemoSentence>& sentences,
                        const std::shared_ptr<const Tokenizer>& tokenizer, bool with_logprobs) {
  size_t length = 0;
  for (const NemoSentence& sentence : sentences) length = std::max(length, sentence.tokens.size());
  Rows rows;
  for (const NemoSentence& sentence : sentences) append_row(sentence, length, tokenizer, rows);
  const json::object answer{
      {"sentences", std::move(rows.sentences)},
      {"tokens", std::move(rows.tokens)},
      {"token_ids", std::move(rows.token_ids)},
      {"logprob", with_logprobs ? json::value(std::move(rows.logprobs)) : json::value(nullptr)},
      {"offsets", std::move(rows.offsets)}};
  return json_text(answer, JsonStyle::kSortedAscii) + "\n";
}

std::string nemo_refusal(std::string_view message) {
  std::string body;
  append_json_string(body, message, JsonStyle::kSortedAscii);
  return body + "\n";
}

std::string nemo_failure(std::string_view message) {
  std::string body = "{\"message\": ";
  append_json_string(body, message, JsonStyle::kSortedAscii);
  return body + "}\n";
}

}  // namespace octet::router
