#include "worker/sampling/automaton_matcher.h"

#include <algorithm>
#include <utility>

namespace octet::worker {

struct AutomatonMatcher::Edge {
  Place* to = nullptr;
  bool is_known = false;
  uint64_t last_walk = 0;
};

class AutomatonMatcher::Place : public std::enable_shared_from_this<AutomatonMatcher::Place> {
 public:
  Place(Configurations place_configurations, size_t num_classes)
      : configurations(std::move(place_configurations)), edges(num_classes) {}

  size_t bytes() const {
    return sizeof(Place) + configurations.words.size() * sizeof(uint64_t) + edges.size() * sizeof(Edge);
  }

  const Configurations configurations;
  std::vector<Edge> edges;          // [num_classes]
  std::unique_ptr<TokenMask> mask;  // of the tokens that may follow, once asked for
  uint64_t last_walk = 0;
};

AutomatonMatcher::AutomatonMatcher(ByteAutomaton automaton)
    : automaton_(std::move(automaton)), ways_(shortest_ways(automaton_)), set_(automaton_, ways_) {
  // Bytes that no edge tells apart are one class.
  std::array<bool, 257> begins{};
  for (uint32_t state = 0; state < automaton_.num_states(); ++state) {
    for (const ByteAutomaton::ByteEdge& edge : automaton_.byte_edges(state)) {
      begins[edge.first] = true;
      begins[edge.last + 1U] = true;
    }
  }
  for (size_t byte = 0; byte < 256; ++byte) {
    if (byte == 0 || begins[byte]) byte_of_class_.push_back(static_cast<uint8_t>(byte));
    class_of_byte_[byte] = static_cast<uint8_t>(byte_of_class_.size() - 1);
  }
}

AutomatonMatcher::~AutomatonMatcher() = default;

AutomatonMatcher::PlacePointer AutomatonMatcher::start() {
  if (start_ != nullptr) return start_;
  set_.add_start();
  if (Place* const place = place_of(set_.take())) start_ = place->shared_from_this();
  return start_;
}

AutomatonMatcher::PlacePointer AutomatonMatcher::advance(Place& place, std::span<const char> bytes) {
  Place* at = &place;
  for (const char byte : bytes) {
    at = follow(*at, class_of_byte_[static_cast<uint8_t>(byte)]);
    if (at == nullptr) return nullptr;
  }
  return at->shared_from_this();
}

bool AutomatonMatcher::accepts(const Place& place) {
  return place.configurations.accepts;
}

bool AutomatonMatcher::find_allowed(Place& place, const TokenTrie& trie, TokenMask& mask) {
  std::fill(mask.begin(), mask.end(), 0);
  ++walk_;
  walked_bytes_ = 0;
  std::vector<Place*> path(trie.max_depth() + size_t{1});  // by depth
  path[0] = &place;
  const std::span<const TokenTrie::Node> nodes = trie.nodes();
  for (size_t i = 0; i < nodes.size();) {
    Place& from = *path[nodes[i].depth - 1U];
    const uint8_t byte_class = class_of_byte_[nodes[i].byte];
    Place* const to = follow(from, byte_class);
    if (!charge(from, from.edges[byte_class])) return false;
    if (to == nullptr) {
      i = nodes[i].subtree_end;
      continue;
    }
    path[nodes[i].depth] = to;
    for (const TokenId token : trie.tokens(i)) mask[token / 32] |= 1U << token % 32;
    ++i;
  }
  return true;
}

const TokenMask* AutomatonMatcher::allowed(Place& place, const TokenTrie& trie, size_t vocab_size) {
  if (place.mask != nullptr) return place.mask.get();
  auto mask = std::make_unique<TokenMask>((vocab_size + 31) / 32);
  if (!find_allowed(place, trie, *mask)) return nullptr;
  kept_bytes_ += mask->size() * sizeof(uint32_t);
  place.mask = std::move(mask);
  return place.mask.get();
}

void AutomatonMatcher::forget() {
  kept_bytes_ = 0;
  for (auto& [hash, place] : places_) {
    std::fill(place->edges.begin(), place->edges.end(), Edge());
    place->mask.reset();
  }
  std::erase_if(places_, [](const auto& entry) { return entry.second.use_count() == 1; });
  for (const auto& [hash, place] : places_) kept_bytes_ += place->bytes();
}

AutomatonMatcher::Place* AutomatonMatcher::follow(Place& place, uint8_t byte_class) {
  Edge& edge = place.edges[byte_class];
  if (!edge.is_known) {
    set_.add_after(place.configurations, byte_of_class_[byte_class]);
    edge.to = place_of(set_.take());
    edge.is_known = true;
  }
  return edge.to;
}

AutomatonMatcher::Place* AutomatonMatcher::place_of(const std::optional<Configurations>& configurations) {
  if (!configurations || (configurations->words.empty() && !configurations->accepts)) return nullptr;
  const size_t hash = hash_words(configurations->words);
  const auto [begin, end] = places_.equal_range(hash);
  for (auto entry = begin; entry != end; ++entry) {
    if (entry->second->configurations == *configurations) return entry->second.get();
  }
  const auto place = std::make_shared<Place>(*configurations, byte_of_class_.size());
  kept_bytes_ += place->bytes();
  return places_.emplace(hash, place)->second.get();
}

// Counts an edge and the place that it comes from once a walk, whether they were known before or not.
bool AutomatonMatcher::charge(Place& place, Edge& edge) {
  if (std::exchange(place.last_walk, walk_) != walk_) walked_bytes_ += place.bytes();
  if (std::exchange(edge.last_walk, walk_) != walk_) {
    walked_bytes_ += sizeof(Edge) + place.configurations.words.size() * sizeof(uint64_t);
  }
  return walked_bytes_ <= kMaxWalkBytes;
}

}  // namespace octet::worker
