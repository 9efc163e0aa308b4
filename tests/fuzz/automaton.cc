// Serialised automatons as a worker gets them from the wire.
#include "base/byte_automaton.h"
#include "base/check.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto automaton = octet::ByteAutomaton::parse({reinterpret_cast<const char*>(data), size});
  if (!automaton) return 0;
  OCTET_CHECK(automaton->num_rules() > 0);
  const std::string bytes = automaton->serialise();
  const auto again = octet::ByteAutomaton::parse(bytes);
  OCTET_CHECK(again && again->serialise() == bytes);
  const auto ways = octet::shortest_ways(*automaton);
  OCTET_CHECK(ways.stack_depth.size() == automaton->num_states());
  return 0;
}
