// Which texts a sequence may generate, as an automaton over their bytes that can call itself: the router
// compiles JSON schemas, regular expressions and grammars to one (router/grammar), the last stage keeps a
// sequence's tokens to it (worker/sampling). Here is what it is, and the only place that knows how it is
// written on the wire. Nothing here matches a text.
//
// A rule begins in a state and matches every text that leads from there to a state that accepts. A call goes
// over texts of another rule, between min and max of them, one after the other, as if its states stood in
// between that often: recursion costs a stack, and a thousand repetitions cost one edge.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace octet {

class ByteAutomaton {
 public:
  struct ByteEdge {
    uint8_t first = 0;  // inclusive
    uint8_t last = 0;   // inclusive
    uint32_t target = 0;
  };
  struct CallEdge {
    uint32_t rule = 0;
    uint32_t min = 1;
    uint32_t max = 1;  // 0: no limit; else at least 1 and at least min
    uint32_t target = 0;
  };
  // As a list is built; add_state() keeps it in another form.
  struct State {
    bool accepts = false;
    std::vector<ByteEdge> byte_edges;
    std::vector<CallEdge> call_edges;
    std::vector<uint32_t> skips;  // states that are reached without a byte
  };

  // Edges may name states and rules that are added later.
  void add_state(const State& state);
  // The whole text has to match rule 0.
  void add_rule(uint32_t start) { rule_starts_.push_back(start); }

  uint32_t num_states() const { return static_cast<uint32_t>(states_.size()); }
  uint32_t num_rules() const { return static_cast<uint32_t>(rule_starts_.size()); }
  uint32_t rule_start(uint32_t rule) const { return rule_starts_[rule]; }
  bool accepts(uint32_t state) const { return states_[state].accepts; }
  std::span<const ByteEdge> byte_edges(uint32_t state) const;
  std::span<const uint32_t> skips(uint32_t state) const;
  std::span<const CallEdge> call_edges(uint32_t state) const;
  // All call edges, by state.
  std::span<const CallEdge> call_edges() const { return call_edges_; }
  // The index in call_edges() of the state's first.
  uint32_t first_call_edge(uint32_t state) const {
    return state == 0 ? 0 : states_[state - 1].call_edges_end;
  }

  // For the wire. parse() gives nothing for bytes that serialise no automaton with a rule and edges that stay
  // inside it, and takes memory in proportion to the bytes.
  std::string serialise() const;
  static std::optional<ByteAutomaton> parse(std::string_view bytes);

 private:
  // Where a state's edges end in the lists; they begin where those of the state before end.
  struct Packed {
    uint32_t byte_edges_end = 0;
    uint32_t call_edges_end = 0;
    uint32_t skips_end = 0;
    bool accepts = false;
  };

  bool is_sound() const;

  std::vector<uint32_t> rule_starts_;  // [num_rules]
  std::vector<Packed> states_;         // [num_states]
  std::vector<ByteEdge> byte_edges_;   // by state, as the next two
  std::vector<CallEdge> call_edges_;
  std::vector<uint32_t> skips_;
};

// What a text from a state to the end of its rule takes at least.
struct ShortestWays {
  // Of a state from which no text leads to the end.
  static constexpr uint32_t kNone = UINT32_MAX;

  std::vector<bool> is_nullable;      // [num_states] whether the empty text does
  std::vector<uint32_t> stack_depth;  // [num_states] calls inside each other, or kNone
};

// In time linear in the automaton's size.
ShortestWays shortest_ways(const ByteAutomaton& automaton);

// A serialised automaton has at most so many bytes.
inline constexpr size_t kMaxAutomatonBytes = 256 << 10;
// Calls inside each other while a text is matched; deeper ways count as none.
inline constexpr uint32_t kMaxAutomatonDepth = 256;

}  // namespace octet
