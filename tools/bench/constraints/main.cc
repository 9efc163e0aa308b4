// What token constraints cost the last stage: follows sample outputs of some grammars, token by token, with a
// vocabulary from a tokenizer.model or of 256,000 made-up words, and prints the times of the masks.
//
// usage: octet-bench-constraints [tokenizer.model]
#include <algorithm>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "base/sentencepiece_model.h"
#include "base/status.h"
#include "router/grammar/structured_output.h"
#include "worker/sampling/constraints.h"

namespace octet {
namespace {

constexpr size_t kNumWords = 256'000;
constexpr worker::TokenId kEnd = 0;

using Kind = router::StructuredOutput::Kind;

struct Case {
  const char* name;
  Kind kind;
  const char* source;
  const char* output;
};

constexpr const char* kSchema = R"({"type": "object", "required": ["name", "age", "tags"], "properties": {
  "name": {"type": "string"}, "age": {"type": "integer"}, "tags": {"type": "array", "items": {"type": "string"}}}})";
constexpr const char* kBounded = R"({"type": "string", "maxLength": 200})";
constexpr const char* kObject =
    R"({"name": "Ada Lovelace", "age": 36, "tags": ["mathematics", "engines", "poetry"]})";
constexpr Case kCases[] = {
    {"JSON schema", Kind::kJsonSchema, kSchema, kObject},
    {"any JSON object", Kind::kJsonObject, "", kObject},
    {"string of at most 200 characters", Kind::kJsonSchema, kBounded,
     R"("The quick brown fox jumps over the lazy dog")"},
    {"regular expression", Kind::kRegex, R"((\w+ ){3,10}\d{4}-\d{2}-\d{2})", "on the day 2024-05-06"},
};

std::vector<std::string> made_up_words() {
  std::mt19937 random(1);
  std::vector<std::string> words = {""};
  for (int byte = 0; byte < 256; ++byte) words.emplace_back(1, static_cast<char>(byte));
  while (words.size() < kNumWords) {
    std::string word = random() % 2 == 0 ? " " : "";
    for (size_t n = 2 + random() % 9; n > 0; --n)
      word += static_cast<char>('a' + random() % 26 * (random() % 26) / 25);
    words.push_back(std::move(word));
  }
  return words;
}

std::vector<std::string> words_of(const std::string& path) {
  const auto model = read_sentencepiece_model(path);
  OCTET_CHECK(model.ok(), path, ": ", text_of(model.status()));
  std::vector<std::string> words;
  for (const auto& piece : model->pieces) {
    const bool is_text = piece.kind == PieceKind::kNormal || piece.kind == PieceKind::kByte;
    words.push_back(is_text ? piece_bytes(*model, piece) : "");
  }
  return words;
}

double microseconds_since(Time start) {
  return seconds(now() - start) * 1e6;
}

// The longest token that the rest of the output begins with.
worker::TokenId next_token(const std::vector<std::string>& words, std::string_view rest) {
  worker::TokenId longest = kEnd;
  for (worker::TokenId token = 0; token < words.size(); ++token) {
    if (rest.starts_with(words[token]) && words[token].size() > words[longest].size()) longest = token;
  }
  OCTET_CHECK(longest != kEnd, "no token for ", rest.substr(0, 1));
  return longest;
}

void run(const Case& given, const std::vector<std::string>& words, worker::Constraints& constraints) {
  const Time before = now();
  const auto automaton = router::compile_structured_output(
      {.kind = given.kind, .source = given.source, .choices = {}, .field = "source"});
  const double compile_us = microseconds_since(before);
  OCTET_CHECK(automaton.ok(), text_of(automaton.status()));
  const worker::TokenConstraint constraint = {.automaton = std::make_shared<const std::string>(*automaton),
                                              .end_tokens = {kEnd},
                                              .begins_text = false};
  std::printf("%-34s compiled in %5.0f us to %5zu bytes;", given.name, compile_us, automaton->size());
  for (const char* round : {"first", "kept"}) {
    worker::SequenceConstraint sequence = constraints.begin(constraint, {});
    std::vector<double> times;
    for (std::string_view rest = given.output; !rest.empty();) {
      const worker::TokenId token = next_token(words, rest);
      const Time start = now();
      OCTET_CHECK(sequence.allowed() != nullptr, sequence.why());
      sequence.add(token);
      times.push_back(microseconds_since(start));
      rest.remove_prefix(words[token].size());
    }
    std::sort(times.begin(), times.end());
    std::printf(" %s: p50 %6.1f us, max %7.1f us, %zu tokens;", round, times[times.size() / 2], times.back(),
                times.size());
  }
  std::printf(" keeps %.1f MiB\n", static_cast<double>(constraints.kept_bytes()) / (1 << 20));
}

}  // namespace
}  // namespace octet

int main(int argc, char** argv) {
  using namespace octet;
  const std::vector<std::string> words = argc > 1 ? words_of(argv[1]) : made_up_words();
  const Time start = now();
  worker::Constraints constraints({.in_text = words, .at_text_start = words});
  std::printf("%zu tokens, tries built in %.0f ms\n", words.size(), microseconds_since(start) / 1e3);
  for (const Case& given : kCases) run(given, words, constraints);
}
