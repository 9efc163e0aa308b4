#include "router/grammar/compile.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/byte_automaton.h"

namespace octet::router {
namespace {

// What each takes at least when serialised.
constexpr size_t kBytesOfState = 1;
constexpr size_t kBytesOfByteEdge = 3;
constexpr size_t kBytesOfCallEdge = 4;
constexpr size_t kBytesOfSkip = 1;

// Edges in the order in which they are found, each with the state that it leaves: lists in each state would
// take several times as much.
class Compiler {
 public:
  explicit Compiler(Grammar grammar) : grammar_(std::move(grammar)) {
    for (uint32_t rule = 0; rule < grammar_.rules.size(); ++rule) add_rule(rule);
    for (uint32_t rule = 0; rule < grammar_.rules.size(); ++rule) {
      rule_ = rule;
      const Expression body = std::move(grammar_.rules[rule].body);
      emit(body, starts_[rule], add_end());
    }
  }

  // The automaton would be larger than kMaxAutomatonBytes: what came last is left out.
  bool is_too_large() const { return num_bytes_ > kMaxAutomatonBytes; }
  size_t num_bytes() const { return num_bytes_; }
  // Once.
  ByteAutomaton automaton() {
    sort(byte_edges_);
    sort(call_edges_);
    sort(skips_);
    auto byte_edge = byte_edges_.begin();
    auto call_edge = call_edges_.begin();
    auto skip = skips_.begin();
    ByteAutomaton automaton;
    for (uint32_t from = 0; from < accepts_.size(); ++from) {
      ByteAutomaton::State state;
      state.accepts = accepts_[from];
      for (; byte_edge != byte_edges_.end() && byte_edge->first == from; ++byte_edge) {
        state.byte_edges.push_back(byte_edge->second);
      }
      for (; call_edge != call_edges_.end() && call_edge->first == from; ++call_edge) {
        state.call_edges.push_back(call_edge->second);
      }
      for (; skip != skips_.end() && skip->first == from; ++skip) state.skips.push_back(skip->second);
      automaton.add_state(state);
    }
    for (const uint32_t start : starts_) automaton.add_rule(start);
    return automaton;
  }
  // Of a rule that came with the grammar, or of the one that a repetition stands in.
  const std::string& name(uint32_t rule) const { return grammar_.rules[origins_[rule]].name; }

 private:
  template <typename Edge>
  using Edges = std::vector<std::pair<uint32_t, Edge>>;  // after the state that it leaves

  template <typename Edge>
  static void sort(Edges<Edge>& edges) {
    std::stable_sort(edges.begin(), edges.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
  }

  uint32_t add_state(bool accepts = false) {
    num_bytes_ += kBytesOfState;
    if (!is_too_large() || accepts_.empty()) accepts_.push_back(accepts);
    return static_cast<uint32_t>(accepts_.size() - 1);
  }
  uint32_t add_end() { return add_state(/*accepts=*/true); }
  uint32_t add_rule(uint32_t origin) {
    origins_.push_back(origin);
    starts_.push_back(add_state());
    return static_cast<uint32_t>(starts_.size() - 1);
  }
  void skip(uint32_t from, uint32_t to) {
    num_bytes_ += kBytesOfSkip;
    if (!is_too_large()) skips_.emplace_back(from, to);
  }
  void add_byte(uint32_t from, uint8_t first, uint8_t last, uint32_t to) {
    num_bytes_ += kBytesOfByteEdge;
    if (!is_too_large()) byte_edges_.push_back({from, {.first = first, .last = last, .target = to}});
  }
  void add_call(uint32_t from, const ByteAutomaton::CallEdge& edge) {
    num_bytes_ += kBytesOfCallEdge;
    if (!is_too_large()) call_edges_.emplace_back(from, edge);
  }

  void emit(const Expression& expression, uint32_t from, uint32_t to) {
    if (is_too_large()) return;
    switch (expression.kind) {
      case Expression::Kind::kText:
        return emit_text(expression.text, from, to);
      case Expression::Kind::kCharacter:
        return emit_character(expression.characters, from, to);
      case Expression::Kind::kSequence:
        return emit_sequence(expression.parts, from, to);
      case Expression::Kind::kChoice:
        return emit_choice(expression.parts, from, to);
      case Expression::Kind::kRepeat:
        return emit_repeat(expression, from, to);
      case Expression::Kind::kRule:
        return add_call(from, {.rule = expression.rule, .min = 1, .max = 1, .target = to});
    }
  }

  void emit_text(const std::string& text, uint32_t from, uint32_t to) {
    if (text.empty()) return skip(from, to);
    for (size_t i = 0; i < text.size(); ++i) {
      const uint32_t next = i + 1 == text.size() ? to : add_state();
      add_byte(from, static_cast<uint8_t>(text[i]), static_cast<uint8_t>(text[i]), next);
      from = next;
    }
  }

  void emit_character(const CodePoints& characters, uint32_t from, uint32_t to) {
    std::map<ByteRanges, uint32_t> endings;  // the state before the last bytes of characters
    endings[{}] = to;
    for (const ByteRanges& bytes : utf8_ranges(characters)) {
      uint32_t next = to;
      for (size_t i = bytes.size() - 1; i > 0; --i) {
        const auto [ending, is_new] = endings.try_emplace(ByteRanges(bytes.begin() + i, bytes.end()));
        if (is_new) {
          ending->second = add_state();
          add_byte(ending->second, bytes[i].first, bytes[i].second, next);
        }
        next = ending->second;
      }
      add_byte(from, bytes[0].first, bytes[0].second, next);
    }
  }

  void emit_sequence(const std::vector<Expression>& parts, uint32_t from, uint32_t to) {
    if (parts.empty()) return skip(from, to);
    for (size_t i = 0; i < parts.size(); ++i) {
      const uint32_t next = i + 1 == parts.size() ? to : add_state();
      emit(parts[i], from, next);
      from = next;
    }
  }

  // Texts share their beginnings, so that many of them are no ambiguity.
  void emit_choice(const std::vector<Expression>& parts, uint32_t from, uint32_t to) {
    std::vector<std::string_view> texts;
    for (const Expression& part : parts) {
      if (part.kind == Expression::Kind::kText) {
        texts.push_back(part.text);
      } else {
        emit(part, from, to);
      }
    }
    std::sort(texts.begin(), texts.end());
    texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
    emit_texts(texts, from, to);
  }

  void emit_texts(const std::vector<std::string_view>& texts, uint32_t from, uint32_t to) {
    std::vector<uint32_t> path;  // [bytes of the last text] the state after each
    std::string_view last;
    for (const std::string_view text : texts) {
      const size_t num_common =
          std::mismatch(text.begin(), text.end(), last.begin(), last.end()).first - text.begin();
      path.resize(num_common);
      while (path.size() < text.size()) {
        const auto byte = static_cast<uint8_t>(text[path.size()]);
        const uint32_t before = path.empty() ? from : path.back();
        path.push_back(add_state());
        add_byte(before, byte, byte, path.back());
      }
      skip(path.empty() ? from : path.back(), to);
      last = text;
    }
  }

  void emit_repeat(const Expression& expression, uint32_t from, uint32_t to) {
    const Expression& part = expression.parts.front();
    const bool is_unlimited = expression.max == Expression::kNoLimit;
    if (expression.max == 1) {
      if (expression.min == 0) skip(from, to);
      return emit(part, from, to);
    }
    if (is_unlimited && expression.min <= 1) {
      const uint32_t before = add_state();
      const uint32_t after = expression.min == 0 ? before : add_state();
      skip(from, before);
      emit(part, before, after);
      if (after != before) skip(after, before);
      return skip(after, to);
    }
    const uint32_t rule = add_rule(rule_);
    add_call(from,
             {.rule = rule, .min = expression.min, .max = is_unlimited ? 0 : expression.max, .target = to});
    emit(part, starts_[rule], add_end());
  }

  Grammar grammar_;            // whose bodies are gone
  std::vector<bool> accepts_;  // [num_states]
  Edges<ByteAutomaton::ByteEdge> byte_edges_;
  Edges<ByteAutomaton::CallEdge> call_edges_;
  Edges<uint32_t> skips_;
  std::vector<uint32_t> starts_;   // [num_rules]
  std::vector<uint32_t> origins_;  // [num_rules] of the grammar, from which they are
  uint32_t rule_ = 0;              // of the grammar, that is being emitted
  size_t num_bytes_ = 0;           // when serialised, at least
};

// The rules that `rule` can call before any byte.
std::vector<uint32_t> first_calls(const ByteAutomaton& automaton, const ShortestWays& ways, uint32_t rule,
                                  std::vector<uint32_t>& visited) {
  std::vector<uint32_t> called;
  std::vector<uint32_t> unexpanded = {automaton.rule_start(rule)};
  while (!unexpanded.empty()) {
    const uint32_t state = unexpanded.back();
    unexpanded.pop_back();
    if (std::exchange(visited[state], rule + 1) == rule + 1) continue;
    for (const uint32_t target : automaton.skips(state)) unexpanded.push_back(target);
    for (const ByteAutomaton::CallEdge& edge : automaton.call_edges(state)) {
      called.push_back(edge.rule);
      if (edge.min == 0 || ways.is_nullable[automaton.rule_start(edge.rule)])
        unexpanded.push_back(edge.target);
    }
  }
  return called;
}

// A rule that can call itself, over others or not, before any byte. Rules that nothing calls so are taken
// away, with their calls, until only those are left that lie on a circle or behind one.
std::optional<uint32_t> find_left_recursion(const ByteAutomaton& automaton, const ShortestWays& ways) {
  std::vector<std::vector<uint32_t>> calls;
  std::vector<uint32_t> num_callers(automaton.num_rules());
  std::vector<uint32_t> visited(automaton.num_states());
  for (uint32_t rule = 0; rule < automaton.num_rules(); ++rule) {
    calls.push_back(first_calls(automaton, ways, rule, visited));
    for (const uint32_t callee : calls.back()) ++num_callers[callee];
  }
  std::vector<uint32_t> uncalled;
  for (uint32_t rule = 0; rule < automaton.num_rules(); ++rule) {
    if (num_callers[rule] == 0) uncalled.push_back(rule);
  }
  while (!uncalled.empty()) {
    const uint32_t rule = uncalled.back();
    uncalled.pop_back();
    for (const uint32_t callee : calls[rule]) {
      if (--num_callers[callee] == 0) uncalled.push_back(callee);
    }
  }
  // Each that is left has a caller that is left: going back often enough ends on a circle.
  std::optional<uint32_t> rule;
  std::vector<uint32_t> caller(automaton.num_rules());
  for (uint32_t from = 0; from < automaton.num_rules(); ++from) {
    if (num_callers[from] == 0) continue;
    rule = from;
    for (const uint32_t callee : calls[from]) caller[callee] = from;
  }
  for (uint32_t i = 0; rule && i < automaton.num_rules(); ++i) rule = caller[*rule];
  return rule;
}

absl::Status too_large(size_t num_bytes) {
  return absl::InvalidArgumentError(absl::StrCat("is too large: its automaton has ", num_bytes,
                                                 " bytes or more; at most ", kMaxAutomatonBytes));
}

}  // namespace

absl::StatusOr<std::string> compile(Grammar grammar) {
  Compiler compiler(std::move(grammar));
  if (compiler.is_too_large()) return too_large(compiler.num_bytes());
  const ByteAutomaton automaton = compiler.automaton();
  const ShortestWays ways = shortest_ways(automaton);
  if (const auto rule = find_left_recursion(automaton, ways)) {
    return absl::InvalidArgumentError(absl::StrCat(compiler.name(*rule), " can begin with itself"));
  }
  const uint32_t depth = ways.stack_depth[automaton.rule_start(0)];
  if (depth == ShortestWays::kNone) return absl::InvalidArgumentError("matches no text");
  if (depth > kMaxAutomatonDepth) {
    return absl::InvalidArgumentError(absl::StrCat("needs rules that call each other ", depth,
                                                   " deep to match anything; at most ", kMaxAutomatonDepth));
  }
  std::string serialised = automaton.serialise();
  if (serialised.size() > kMaxAutomatonBytes) return too_large(serialised.size());
  return serialised;
}

}  // namespace octet::router
