// What a client can ask the output to be, and its automaton. Compiling takes time and memory in proportion to
// the source, which is limited; what an automaton is then matched against is limited in worker/sampling.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace octet::router {

struct StructuredOutput {
  enum class Kind {
    kJsonSchema,  // source: a JSON schema
    kJsonObject,  // any JSON object
    kRegex,       // source: a regular expression that the whole output matches
    kGrammar,     // source: EBNF
    kChoice,      // one of choices
  };
  Kind kind = Kind::kJsonObject;
  std::string source;
  std::vector<std::string> choices;
  std::string field;  // the API's name for it, for errors
};

inline constexpr size_t kMaxStructureBytes = 64 << 10;  // of the source, or of all choices
inline constexpr size_t kMaxStructureChoices = 4096;

// As base/byte_automaton.h serialises it. Errors: INVALID_ARGUMENT naming the field.
absl::StatusOr<std::string> compile_structured_output(const StructuredOutput& output);

}  // namespace octet::router
