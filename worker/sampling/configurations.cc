#include "worker/sampling/configurations.h"

#include <algorithm>

namespace octet::worker {
namespace {

uint64_t pack(uint32_t high, uint32_t low) {
  return uint64_t{high} << 32 | low;
}
uint32_t high(uint64_t word) {
  return static_cast<uint32_t>(word >> 32);
}
uint32_t low(uint64_t word) {
  return static_cast<uint32_t>(word);
}

}  // namespace

size_t hash_words(const std::vector<uint64_t>& words) {
  uint64_t hash = words.size();
  for (const uint64_t word : words) {
    hash = (hash ^ word) * 0x9E3779B97F4A7C15;
    hash ^= hash >> 29;
  }
  return hash;
}

size_t ConfigurationSet::HashItem::operator()(const Item& item) const {
  return hash_words(item);
}

ConfigurationSet::ConfigurationSet(const ByteAutomaton& automaton, const ShortestWays& ways)
    : automaton_(automaton), ways_(ways) {}

void ConfigurationSet::add_start() {
  visit(automaton_.rule_start(0), /*is_fresh=*/false, nullptr, 0);
}

void ConfigurationSet::add_after(const Configurations& from, uint8_t byte) {
  for (size_t i = 0; i < from.words.size(); i += 1 + low(from.words[i])) {
    for (const ByteAutomaton::ByteEdge& edge : automaton_.byte_edges(high(from.words[i]))) {
      if (byte < edge.first || byte > edge.last) continue;
      visit(edge.target, /*is_fresh=*/false, from.words.data() + i + 1, low(from.words[i]));
    }
  }
}

std::optional<Configurations> ConfigurationSet::take() {
  while (!unexpanded_.empty() && items_.size() <= kMaxConfigurations && num_words_ <= kMaxWords) {
    const Item* const item = unexpanded_.back();
    unexpanded_.pop_back();
    expand(*item);
  }
  std::optional<Configurations> result;
  if (unexpanded_.empty() && items_.size() <= kMaxConfigurations && num_words_ <= kMaxWords) {
    result = waiting_for_a_byte();
  }
  items_.clear();
  unexpanded_.clear();
  num_words_ = 0;
  accepts_ = false;
  return result;
}

Configurations ConfigurationSet::waiting_for_a_byte() const {
  std::vector<Item> waiting;
  for (const Item& item : items_) {
    const auto state = static_cast<uint32_t>(item[0] >> 1);
    if (automaton_.byte_edges(state).empty()) continue;
    waiting.push_back(item);
    waiting.back()[0] = pack(state, static_cast<uint32_t>(item.size() - 1));
  }
  std::sort(waiting.begin(), waiting.end());
  waiting.erase(std::unique(waiting.begin(), waiting.end()), waiting.end());
  Configurations result;
  result.accepts = accepts_;
  for (const Item& item : waiting) result.words.insert(result.words.end(), item.begin(), item.end());
  return result;
}

void ConfigurationSet::visit(uint32_t state, bool is_fresh, const uint64_t* frames, size_t num_frames) {
  const uint32_t needed = ways_.stack_depth[state];
  if (needed == ShortestWays::kNone || needed + num_frames > kMaxAutomatonDepth) return;
  Item item;
  item.reserve(1 + num_frames);
  item.push_back(uint64_t{state} << 1 | (is_fresh ? 1U : 0U));
  item.insert(item.end(), frames, frames + num_frames);
  const auto [place, is_new] = items_.insert(std::move(item));
  if (!is_new) return;
  num_words_ += place->size();
  unexpanded_.push_back(&*place);
}

void ConfigurationSet::expand(const Item& item) {
  const auto state = static_cast<uint32_t>(item[0] >> 1);
  const bool is_fresh = (item[0] & 1) != 0;
  const size_t num_frames = item.size() - 1;
  if (automaton_.accepts(state)) leave(item);
  for (const uint32_t target : automaton_.skips(state)) visit(target, is_fresh, item.data() + 1, num_frames);
  const uint32_t first = automaton_.first_call_edge(state);
  for (uint32_t i = 0; i < automaton_.call_edges(state).size(); ++i) {
    enter(first + i, 0, item, num_frames, is_fresh);
  }
}

// The rule that the configuration is in has matched.
void ConfigurationSet::leave(const Item& item) {
  if (item.size() == 1) {
    accepts_ = true;
  } else if ((item[0] & 1) == 0) {
    enter(high(item.back()), low(item.back()) + 1, item, item.size() - 2, /*is_fresh=*/false);
  }
}

// Of a call's texts num_done are matched: ends the call or begins the next text, or both. num_frames: those
// of the item that stay.
void ConfigurationSet::enter(uint32_t edge_index, uint32_t num_done, const Item& item, size_t num_frames,
                             bool is_fresh) {
  const ByteAutomaton::CallEdge& edge = automaton_.call_edges()[edge_index];
  const uint32_t start = automaton_.rule_start(edge.rule);
  if (num_done >= edge.min || ways_.is_nullable[start]) {
    visit(edge.target, is_fresh, item.data() + 1, num_frames);
  }
  if (edge.max != 0 && num_done >= edge.max) return;
  const bool is_last = edge.max != 0 && num_done + 1 == edge.max;
  // A last call needs no frame: what comes after it is the end of its own rule.
  if (is_last && is_bare_end(edge.target)) return visit(start, is_fresh, item.data() + 1, num_frames);
  Item frames(item.begin() + 1, item.begin() + 1 + static_cast<std::ptrdiff_t>(num_frames));
  // Without a limit, texts past the minimum need no count.
  frames.push_back(pack(edge_index, edge.max == 0 ? std::min(num_done, edge.min) : num_done));
  visit(start, /*is_fresh=*/true, frames.data(), frames.size());
}

bool ConfigurationSet::is_bare_end(uint32_t state) const {
  return automaton_.accepts(state) && automaton_.byte_edges(state).empty() &&
         automaton_.call_edges(state).empty() && automaton_.skips(state).empty();
}

}  // namespace octet::worker
