#include "base/byte_automaton.h"

#include <gtest/gtest.h>

#include <random>

namespace octet {
namespace {

// rule 0: "a" (rule 1){2,} "z", rule 1: [b-y] or rule 0
ByteAutomaton example() {
  ByteAutomaton automaton;
  automaton.add_rule(0);
  automaton.add_rule(4);
  automaton.add_state({.accepts = false, .byte_edges = {{'a', 'a', 1}}, .call_edges = {}, .skips = {}});
  automaton.add_state({.accepts = false, .byte_edges = {}, .call_edges = {{1, 2, 0, 2}}, .skips = {}});
  automaton.add_state({.accepts = false, .byte_edges = {{'z', 'z', 3}}, .call_edges = {}, .skips = {}});
  automaton.add_state({.accepts = true, .byte_edges = {}, .call_edges = {}, .skips = {}});
  automaton.add_state(
      {.accepts = false, .byte_edges = {{'b', 'y', 3}}, .call_edges = {{0, 1, 1, 3}}, .skips = {3}});
  return automaton;
}

TEST(ByteAutomaton, ComesBackFromItsBytes) {
  const ByteAutomaton automaton = example();
  const std::string bytes = automaton.serialise();
  const auto back = ByteAutomaton::parse(bytes);
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->serialise(), bytes);
  EXPECT_EQ(back->num_states(), 5U);
  EXPECT_EQ(back->num_rules(), 2U);
  EXPECT_EQ(back->rule_start(1), 4U);
  EXPECT_TRUE(back->accepts(3));
  ASSERT_EQ(back->call_edges(1).size(), 1U);
  EXPECT_EQ(back->call_edges(1)[0].min, 2U);
  EXPECT_EQ(back->call_edges(1)[0].max, 0U);
  EXPECT_EQ(back->first_call_edge(4), 1U);
  EXPECT_EQ(back->byte_edges(4)[0].last, 'y');
  EXPECT_EQ(back->skips(4)[0], 3U);
}

TEST(ByteAutomaton, BrokenBytesGiveNothingOrASoundAutomaton) {
  const std::string bytes = example().serialise();
  for (size_t n = 0; n < bytes.size(); ++n)
    EXPECT_FALSE(ByteAutomaton::parse(bytes.substr(0, n)).has_value()) << n;
  EXPECT_FALSE(ByteAutomaton::parse(bytes + '\0').has_value());
  EXPECT_FALSE(ByteAutomaton::parse(std::string(kMaxAutomatonBytes + 1, '\1')).has_value());
  std::mt19937 random(5);
  for (int i = 0; i < 100'000; ++i) {
    std::string broken = bytes;
    for (int n = 0; n < 3; ++n) broken[random() % broken.size()] = static_cast<char>(random());
    const auto parsed = ByteAutomaton::parse(broken);
    if (!parsed) continue;
    for (uint32_t state = 0; state < parsed->num_states(); ++state) {
      for (const auto& edge : parsed->byte_edges(state)) ASSERT_LT(edge.target, parsed->num_states());
      for (const uint32_t target : parsed->skips(state)) ASSERT_LT(target, parsed->num_states());
      for (const auto& edge : parsed->call_edges(state)) {
        ASSERT_LT(edge.target, parsed->num_states());
        ASSERT_LT(edge.rule, parsed->num_rules());
      }
    }
    shortest_ways(*parsed);
  }
}

TEST(ByteAutomaton, ShortestWays) {
  const ShortestWays ways = shortest_ways(example());
  EXPECT_EQ(ways.is_nullable, (std::vector<bool>{false, false, false, true, true}));
  EXPECT_EQ(ways.stack_depth, (std::vector<uint32_t>{0, 0, 0, 0, 0}));
  ByteAutomaton endless;
  endless.add_rule(0);
  endless.add_state({.accepts = false, .byte_edges = {{'a', 'a', 0}}, .call_edges = {}, .skips = {}});
  EXPECT_EQ(shortest_ways(endless).stack_depth[0], ShortestWays::kNone);
}

}  // namespace
}  // namespace octet
