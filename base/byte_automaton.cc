#include "base/byte_automaton.h"

#include <algorithm>

namespace octet {
namespace {

constexpr char kFormat = 1;  // the first byte of every serialised automaton

void write_number(uint64_t value, std::string& out) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

// Targets lie near their edges, so their distance takes fewer bytes than they.
void write_target(uint32_t state, uint32_t target, std::string& out) {
  const int64_t distance = int64_t{target} - state;
  write_number(static_cast<uint64_t>(distance) << 1 ^ static_cast<uint64_t>(distance >> 63), out);
}

// Reads numbers until one is broken, and zeros from then on.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  uint64_t number() {
    uint64_t value = 0;
    for (size_t i = 0; i < bytes_.size() && i < 5; ++i) {
      const auto byte = static_cast<unsigned char>(bytes_[i]);
      value |= uint64_t{byte & 0x7FU} << (7 * i);
      if (byte >= 0x80) continue;
      bytes_.remove_prefix(i + 1);
      return value;
    }
    bytes_ = {};
    failed_ = true;
    return 0;
  }
  uint32_t number32() {
    const uint64_t value = number();
    failed_ |= value > UINT32_MAX;
    return static_cast<uint32_t>(value);
  }
  // How many entries follow; each takes at least a byte.
  uint32_t count() {
    const uint64_t value = number();
    if (value <= bytes_.size()) return static_cast<uint32_t>(value);
    failed_ = true;
    return 0;
  }
  uint32_t target(uint32_t state) {
    const uint64_t coded = number();
    const auto distance = static_cast<int64_t>(coded >> 1) ^ -static_cast<int64_t>(coded & 1);
    const int64_t value = int64_t{state} + distance;
    failed_ |= value < 0 || value > INT32_MAX;
    return static_cast<uint32_t>(value);
  }
  bool failed() const { return failed_; }
  bool at_end() const { return bytes_.empty() && !failed_; }

 private:
  std::string_view bytes_;
  bool failed_ = false;
};

template <typename T, typename GetEnd>
std::span<const T> part(const std::vector<T>& all, uint32_t state, const GetEnd& end_of) {
  const uint32_t begin = state == 0 ? 0 : end_of(state - 1);
  return std::span(all).subspan(begin, end_of(state) - begin);
}

ByteAutomaton::State read_state(uint32_t index, Reader& reader) {
  ByteAutomaton::State state;
  const uint64_t head = reader.number();
  state.accepts = (head & 1) != 0;
  const uint32_t num_call_edges = (head & 2) != 0 ? reader.count() : 0;
  const uint32_t num_skips = (head & 4) != 0 ? reader.count() : 0;
  for (uint64_t i = 0; i < head >> 3 && !reader.failed(); ++i) {
    const auto first = static_cast<uint8_t>(reader.number());
    const auto last = static_cast<uint8_t>(first + reader.number());
    state.byte_edges.push_back({.first = first, .last = last, .target = reader.target(index)});
  }
  for (uint32_t i = 0; i < num_call_edges && !reader.failed(); ++i) {
    ByteAutomaton::CallEdge edge;
    edge.rule = reader.number32();
    edge.min = reader.number32();
    edge.max = reader.number32();
    edge.target = reader.target(index);
    state.call_edges.push_back(edge);
  }
  for (uint32_t i = 0; i < num_skips && !reader.failed(); ++i) state.skips.push_back(reader.target(index));
  return state;
}

// Finds the values of states from the ends of rules backwards: the least first, so that the first value that
// a state gets is its own.
class WaysBack {
 public:
  explicit WaysBack(const ByteAutomaton& automaton)
      : automaton_(automaton), before_(automaton.num_states()), rules_begun_at_(automaton.num_states()) {
    for (uint32_t rule = 0; rule < automaton.num_rules(); ++rule) {
      rules_begun_at_[automaton.rule_start(rule)].push_back(rule);
    }
    calls_of_.resize(automaton.num_rules());
    calls_to_.resize(automaton.num_states());
  }

  // Over call edges only where the rule's own value is known too; `nullable` rules count as no call.
  std::vector<uint32_t> run(bool over_bytes, const std::vector<bool>* nullable) {
    for (uint32_t state = 0; state < automaton_.num_states(); ++state) add_edges(state, over_bytes, nullable);
    values_.assign(automaton_.num_states(), ShortestWays::kNone);
    for (uint32_t state = 0; state < automaton_.num_states(); ++state) {
      if (automaton_.accepts(state)) reach(state, 0);
    }
    for (size_t level = 0; level < levels_.size(); ++level) {
      for (size_t i = 0; i < levels_[level].size(); ++i)
        settle(levels_[level][i], static_cast<uint32_t>(level));
    }
    return std::move(values_);
  }

 private:
  struct Call {
    uint32_t from;
    uint32_t rule;
    uint32_t target;
  };

  void add_edges(uint32_t state, bool over_bytes, const std::vector<bool>* nullable) {
    if (over_bytes) {
      for (const auto& edge : automaton_.byte_edges(state)) before_[edge.target].push_back(state);
    }
    for (const uint32_t target : automaton_.skips(state)) before_[target].push_back(state);
    for (const auto& edge : automaton_.call_edges(state)) {
      const bool is_optional =
          edge.min == 0 || (nullable != nullptr && (*nullable)[automaton_.rule_start(edge.rule)]);
      if (is_optional) {
        before_[edge.target].push_back(state);
        continue;
      }
      calls_of_[edge.rule].push_back(calls_.size());
      calls_to_[edge.target].push_back(calls_.size());
      calls_.push_back({.from = state, .rule = edge.rule, .target = edge.target});
    }
  }

  void reach(uint32_t state, uint32_t value) {
    if (values_[state] <= value) return;
    if (value >= levels_.size()) levels_.resize(value + 1);
    values_[state] = value;
    levels_[value].push_back(state);
  }

  void reach_by(const Call& call) {
    const uint32_t inside = values_[automaton_.rule_start(call.rule)];
    const uint32_t after = values_[call.target];
    if (inside != ShortestWays::kNone && after != ShortestWays::kNone) {
      reach(call.from, std::max(inside + 1, after));
    }
  }

  void settle(uint32_t state, uint32_t level) {
    if (values_[state] != level) return;  // a smaller value came after this one
    for (const uint32_t from : before_[state]) reach(from, level);
    for (const uint32_t rule : rules_begun_at_[state]) {
      for (const size_t call : calls_of_[rule]) reach_by(calls_[call]);
    }
    for (const size_t call : calls_to_[state]) reach_by(calls_[call]);
  }

  const ByteAutomaton& automaton_;
  std::vector<std::vector<uint32_t>> before_;          // [num_states] states with an edge to this one
  std::vector<std::vector<uint32_t>> rules_begun_at_;  // [num_states]
  std::vector<Call> calls_;
  std::vector<std::vector<size_t>> calls_of_;  // [num_rules] indices into calls_
  std::vector<std::vector<size_t>> calls_to_;  // [num_states], the same
  std::vector<uint32_t> values_;               // [num_states]
  std::vector<std::vector<uint32_t>> levels_;  // states by value
};

}  // namespace

void ByteAutomaton::add_state(const State& state) {
  byte_edges_.insert(byte_edges_.end(), state.byte_edges.begin(), state.byte_edges.end());
  call_edges_.insert(call_edges_.end(), state.call_edges.begin(), state.call_edges.end());
  skips_.insert(skips_.end(), state.skips.begin(), state.skips.end());
  states_.push_back({.byte_edges_end = static_cast<uint32_t>(byte_edges_.size()),
                     .call_edges_end = static_cast<uint32_t>(call_edges_.size()),
                     .skips_end = static_cast<uint32_t>(skips_.size()),
                     .accepts = state.accepts});
}

std::span<const ByteAutomaton::ByteEdge> ByteAutomaton::byte_edges(uint32_t state) const {
  return part(byte_edges_, state, [this](uint32_t s) { return states_[s].byte_edges_end; });
}

std::span<const ByteAutomaton::CallEdge> ByteAutomaton::call_edges(uint32_t state) const {
  return part(call_edges_, state, [this](uint32_t s) { return states_[s].call_edges_end; });
}

std::span<const uint32_t> ByteAutomaton::skips(uint32_t state) const {
  return part(skips_, state, [this](uint32_t s) { return states_[s].skips_end; });
}

std::string ByteAutomaton::serialise() const {
  std::string out(1, kFormat);
  write_number(rule_starts_.size(), out);
  for (const uint32_t start : rule_starts_) write_number(start, out);
  write_number(states_.size(), out);
  for (uint32_t state = 0; state < num_states(); ++state) {
    const auto bytes = byte_edges(state);
    const auto calls = call_edges(state);
    const auto skipped = skips(state);
    write_number(bytes.size() << 3 | (skipped.empty() ? 0U : 4U) | (calls.empty() ? 0U : 2U) |
                     (accepts(state) ? 1U : 0U),
                 out);
    if (!calls.empty()) write_number(calls.size(), out);
    if (!skipped.empty()) write_number(skipped.size(), out);
    for (const ByteEdge& edge : bytes) {
      write_number(edge.first, out);
      write_number(edge.last - edge.first, out);
      write_target(state, edge.target, out);
    }
    for (const CallEdge& edge : calls) {
      write_number(edge.rule, out);
      write_number(edge.min, out);
      write_number(edge.max, out);
      write_target(state, edge.target, out);
    }
    for (const uint32_t target : skipped) write_target(state, target, out);
  }
  return out;
}

std::optional<ByteAutomaton> ByteAutomaton::parse(std::string_view bytes) {
  if (bytes.empty() || bytes.front() != kFormat || bytes.size() > kMaxAutomatonBytes) return std::nullopt;
  Reader reader(bytes.substr(1));
  ByteAutomaton automaton;
  const uint32_t num_rules = reader.count();
  for (uint32_t rule = 0; rule < num_rules && !reader.failed(); ++rule) automaton.add_rule(reader.number32());
  const uint32_t num_states = reader.count();
  for (uint32_t state = 0; state < num_states && !reader.failed(); ++state) {
    automaton.add_state(read_state(state, reader));
  }
  if (!reader.at_end() || !automaton.is_sound()) return std::nullopt;
  return automaton;
}

bool ByteAutomaton::is_sound() const {
  const auto is_state = [this](uint32_t state) { return state < num_states(); };
  const auto is_sound_call = [&](const CallEdge& edge) {
    return edge.rule < num_rules() && (edge.max == 0 || edge.min <= edge.max) && is_state(edge.target);
  };
  return !rule_starts_.empty() && std::all_of(rule_starts_.begin(), rule_starts_.end(), is_state) &&
         std::all_of(
             byte_edges_.begin(), byte_edges_.end(),
             [&](const ByteEdge& edge) { return edge.first <= edge.last && is_state(edge.target); }) &&
         std::all_of(call_edges_.begin(), call_edges_.end(), is_sound_call) &&
         std::all_of(skips_.begin(), skips_.end(), is_state);
}

ShortestWays shortest_ways(const ByteAutomaton& automaton) {
  const std::vector<uint32_t> without_bytes = WaysBack(automaton).run(/*over_bytes=*/false, nullptr);
  ShortestWays ways;
  for (const uint32_t depth : without_bytes) ways.is_nullable.push_back(depth != ShortestWays::kNone);
  ways.stack_depth = WaysBack(automaton).run(/*over_bytes=*/true, &ways.is_nullable);
  return ways;
}

}  // namespace octet
