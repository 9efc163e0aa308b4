// Clients' JSON schemas, regular expressions, EBNF and choices: an automaton within its limits, or a refusal.
#include <string>

#include "base/byte_automaton.h"
#include "base/check.h"
#include "router/grammar/structured_output.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace octet::router;
  octet::fuzz::Input input(data, size);
  StructuredOutput output;
  output.kind = static_cast<StructuredOutput::Kind>(input.below(5));
  output.field = "field";
  if (output.kind == StructuredOutput::Kind::kChoice) {
    while (!input.empty()) output.choices.emplace_back(input.line());
  } else {
    output.source = input.rest();
  }
  const auto compiled = compile_structured_output(output);
  if (!compiled.ok()) {
    OCTET_CHECK(absl::IsInvalidArgument(compiled.status()), compiled.status());
    return 0;
  }
  OCTET_CHECK(compiled->size() <= octet::kMaxAutomatonBytes, compiled->size());
  const auto automaton = octet::ByteAutomaton::parse(*compiled);
  OCTET_CHECK(automaton);
  OCTET_CHECK(automaton->serialise() == *compiled);
  const auto ways = octet::shortest_ways(*automaton);
  OCTET_CHECK(ways.stack_depth[automaton->rule_start(0)] != octet::ShortestWays::kNone, "nothing matches");
  return 0;
}
