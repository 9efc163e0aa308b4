// Answers questions about grammars for test_grammar_properties.py: a JSON object a line in, one a line out.
//
//   {"kind": "regex" | "grammar" | "json_schema", "source": text, "texts": [text...]}
//     -> {"matches": [bool...]} or {"error": text}
//   {..., "tokens": [text...], "walks": number, "seed": number}
//     -> {"outputs": [text...]}: random texts out of tokens that the mask allows, ended where it may end
#include <boost/json.hpp>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/status.h"
#include "tests/router/grammar/grammar_testing.h"
#include "worker/sampling/token_trie.h"

namespace octet::router {
namespace {

namespace json = boost::json;

constexpr int kMaxTokens = 400;

std::string string_of(const json::value& value) {
  return {value.as_string().data(), value.as_string().size()};
}

StructuredOutput output_of(const json::object& question) {
  const std::string kind = string_of(question.at("kind"));
  const std::string source = string_of(question.at("source"));
  if (kind == "regex") return regex(source);
  if (kind == "grammar") return ebnf(source);
  return json_schema(source);
}

// Towards the end the token is chosen that ends soonest: the one with the most of '}', ']' and '"'.
std::string walk(CompiledGrammar& grammar, const std::vector<std::string>& tokens,
                 const worker::TokenTrie& trie, std::mt19937& random) {
  auto place = grammar.matcher().start();
  std::string text;
  for (int i = 0; place != nullptr && i < kMaxTokens; ++i) {
    const worker::TokenMask* const mask = grammar.matcher().allowed(*place, trie, tokens.size());
    OCTET_CHECK(mask != nullptr, "too ambiguous after ", text);
    std::vector<size_t> allowed;
    for (size_t token = 0; token < tokens.size(); ++token) {
      if (((*mask)[token / 32] >> token % 32 & 1) != 0) allowed.push_back(token);
    }
    const bool may_end = worker::AutomatonMatcher::accepts(*place);
    OCTET_CHECK(may_end || !allowed.empty(), "a dead end after ", text);
    if (may_end && (allowed.empty() || random() % 3 == 0 || i > kMaxTokens / 4)) return text;
    size_t token = allowed[random() % allowed.size()];
    if (i > kMaxTokens / 4) {
      for (const size_t other : allowed) {
        if (tokens[other] == "}" || tokens[other] == "]" || tokens[other] == "\"") token = other;
      }
    }
    text += tokens[token];
    place = grammar.matcher().advance(*place, tokens[token]);
  }
  OCTET_CHECK(place != nullptr, "an allowed token does not follow ", text);
  return "";  // too long to be looked at
}

json::object answer(const json::object& question) {
  auto grammar = CompiledGrammar::compile(output_of(question));
  if (!grammar.ok()) return {{"error", text_of(grammar.status())}};
  json::array results;
  if (const json::value* texts = question.if_contains("texts")) {
    for (const json::value& text : texts->as_array()) results.emplace_back(grammar->matches(string_of(text)));
    return {{"matches", std::move(results)}};
  }
  std::vector<std::string> tokens;
  for (const json::value& token : question.at("tokens").as_array()) tokens.push_back(string_of(token));
  const worker::TokenTrie trie(tokens);
  std::mt19937 random(static_cast<uint32_t>(question.at("seed").as_int64()));
  for (int64_t i = question.at("walks").as_int64(); i > 0; --i) {
    const std::string text = walk(*grammar, tokens, trie, random);
    if (!text.empty()) results.emplace_back(text);
  }
  return {{"outputs", std::move(results)}};
}

}  // namespace
}  // namespace octet::router

int main() {
  std::string line;
  while (std::getline(std::cin, line)) {
    const boost::json::value question = boost::json::parse(line);
    std::cout << boost::json::serialize(octet::router::answer(question.as_object())) << std::endl;
  }
}
