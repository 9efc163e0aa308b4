#include "tests/router/grammar/grammar_testing.h"

#include <utility>

#include "base/byte_automaton.h"
#include "base/check.h"
#include "base/status.h"
#include "router/grammar/compile.h"

namespace octet::router {

CompiledGrammar::CompiledGrammar(const std::string& automaton) : num_bytes_(automaton.size()) {
  auto parsed = ByteAutomaton::parse(automaton);
  OCTET_CHECK(parsed.has_value(), automaton.size(), " bytes");
  matcher_ = std::make_unique<worker::AutomatonMatcher>(*std::move(parsed));
}

absl::StatusOr<CompiledGrammar> CompiledGrammar::compile(const StructuredOutput& output) {
  const auto automaton = compile_structured_output(output);
  if (!automaton.ok()) return automaton.status();
  return CompiledGrammar(*automaton);
}

CompiledGrammar CompiledGrammar::of(const Grammar& grammar) {
  const auto automaton = router::compile(grammar);
  OCTET_CHECK(automaton.ok(), text_of(automaton.status()));
  return CompiledGrammar(*automaton);
}

CompiledGrammar CompiledGrammar::of(const Expression& expression) {
  return of(Grammar{.rules = {{.name = "the test's", .body = expression}}});
}

bool CompiledGrammar::matches(std::string_view text) {
  const auto start = matcher_->start();
  const auto end = start == nullptr ? nullptr : matcher_->advance(*start, text);
  return end != nullptr && worker::AutomatonMatcher::accepts(*end);
}

bool CompiledGrammar::may_begin_with(std::string_view text) {
  const auto start = matcher_->start();
  return start != nullptr && matcher_->advance(*start, text) != nullptr;
}

StructuredOutput json_schema(std::string schema) {
  return {.kind = StructuredOutput::Kind::kJsonSchema,
          .source = std::move(schema),
          .choices = {},
          .field = "schema"};
}
StructuredOutput regex(std::string source) {
  return {
      .kind = StructuredOutput::Kind::kRegex, .source = std::move(source), .choices = {}, .field = "regex"};
}
StructuredOutput ebnf(std::string source) {
  return {.kind = StructuredOutput::Kind::kGrammar,
          .source = std::move(source),
          .choices = {},
          .field = "grammar"};
}

std::string refusal(const StructuredOutput& output) {
  const auto automaton = compile_structured_output(output);
  return automaton.ok() ? "" : text_of(automaton.status());
}

}  // namespace octet::router
