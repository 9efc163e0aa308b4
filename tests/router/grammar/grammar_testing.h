// Compiles what a client asks for and matches texts against it with the last stage's matcher.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "router/grammar/expression.h"
#include "router/grammar/structured_output.h"
#include "worker/sampling/automaton_matcher.h"

namespace octet::router {

class CompiledGrammar {
 public:
  static absl::StatusOr<CompiledGrammar> compile(const StructuredOutput& output);
  // Stops the test when the grammar does not compile.
  static CompiledGrammar of(const Grammar& grammar);
  static CompiledGrammar of(const Expression& expression);

  bool matches(std::string_view text);
  // Whether some match begins so.
  bool may_begin_with(std::string_view text);
  worker::AutomatonMatcher& matcher() { return *matcher_; }
  size_t num_bytes() const { return num_bytes_; }

 private:
  explicit CompiledGrammar(const std::string& automaton);

  std::unique_ptr<worker::AutomatonMatcher> matcher_;
  size_t num_bytes_;
};

StructuredOutput json_schema(std::string schema);
StructuredOutput regex(std::string source);
StructuredOutput ebnf(std::string source);

// What the refusal says, or "" when it compiles.
std::string refusal(const StructuredOutput& output);

}  // namespace octet::router
