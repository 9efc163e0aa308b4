#include "router/grammar/structured_output.h"

#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/utf8.h"
#include "router/grammar/compile.h"
#include "router/grammar/ebnf.h"
#include "router/grammar/expression.h"
#include "router/grammar/json_grammar.h"
#include "router/grammar/json_schema.h"
#include "router/grammar/regex.h"

namespace octet::router {
namespace {

absl::Status check_sizes(const StructuredOutput& output) {
  size_t num_bytes = output.source.size();
  bool is_valid = is_valid_utf8(output.source);
  for (const std::string& choice : output.choices) {
    num_bytes += choice.size();
    is_valid = is_valid && is_valid_utf8(choice);
  }
  if (num_bytes > kMaxStructureBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("must have at most ", kMaxStructureBytes, " bytes; has ", num_bytes));
  }
  if (output.choices.size() > kMaxStructureChoices) {
    return absl::InvalidArgumentError(
        absl::StrCat("must have at most ", kMaxStructureChoices, " entries; has ", output.choices.size()));
  }
  if (!is_valid) return absl::InvalidArgumentError("must be valid UTF-8");
  return absl::OkStatus();
}

absl::StatusOr<Grammar> choice_grammar(const std::vector<std::string>& choices) {
  if (choices.empty()) return absl::InvalidArgumentError("must have at least 1 entry; has 0");
  std::vector<Expression> texts;
  for (const std::string& entry : choices) {
    if (entry.empty()) return absl::InvalidArgumentError("an entry is empty");
    texts.push_back(text(entry));
  }
  return Grammar{.rules = {{.name = "", .body = choice(std::move(texts))}}};
}

absl::StatusOr<Grammar> regex_grammar(const std::string& source) {
  if (source.empty()) return absl::InvalidArgumentError("must not be empty");
  absl::StatusOr<Expression> whole = parse_regex(source, RegexMatch::kWhole);
  if (!whole.ok()) return whole.status();
  return Grammar{.rules = {{.name = "", .body = *std::move(whole)}}};
}

absl::StatusOr<Grammar> grammar_of(const StructuredOutput& output) {
  switch (output.kind) {
    case StructuredOutput::Kind::kJsonSchema:
      return json_schema_grammar(output.source);
    case StructuredOutput::Kind::kJsonObject:
      return json_object_grammar();
    case StructuredOutput::Kind::kRegex:
      return regex_grammar(output.source);
    case StructuredOutput::Kind::kGrammar:
      return parse_ebnf(output.source);
    case StructuredOutput::Kind::kChoice:
      return choice_grammar(output.choices);
  }
  return absl::InternalError("unknown kind");
}

}  // namespace

absl::StatusOr<std::string> compile_structured_output(const StructuredOutput& output) {
  absl::Status status = check_sizes(output);
  if (status.ok()) {
    absl::StatusOr<Grammar> grammar = grammar_of(output);
    if (grammar.ok()) {
      absl::StatusOr<std::string> automaton = compile(*std::move(grammar));
      if (automaton.ok()) return automaton;
      status = automaton.status();
    } else {
      status = grammar.status();
    }
  }
  return invalid_field(output.field, text_of(status));
}

}  // namespace octet::router
