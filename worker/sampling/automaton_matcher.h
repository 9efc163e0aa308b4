// Follows texts through a byte automaton, byte by byte, and says which tokens may follow. What it finds out
// it keeps: places as the states of a deterministic automaton that is built as far as texts have come, and
// for a place the tokens that may follow. One thread uses it.
//
// Everything it answers depends on the automaton and the bytes alone, not on what it has kept.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/byte_automaton.h"
#include "worker/sampling/configurations.h"
#include "worker/sampling/token_trie.h"

namespace octet::worker {

// One bit a token of the vocabulary: word t / 32, bit t % 32.
using TokenMask = std::vector<uint32_t>;  // [ceil(vocab_size / 32)]

class AutomatonMatcher {
 public:
  // Where a text is. Equal places of one matcher are one object, which holds as long as somebody holds it.
  class Place;
  using PlacePointer = std::shared_ptr<Place>;

  explicit AutomatonMatcher(ByteAutomaton automaton);
  ~AutomatonMatcher();
  AutomatonMatcher(const AutomatonMatcher&) = delete;
  AutomatonMatcher& operator=(const AutomatonMatcher&) = delete;

  // Null when no text matches.
  PlacePointer start();
  // Null when no text that begins so matches, or the automaton is too ambiguous there.
  PlacePointer advance(Place& place, std::span<const char> bytes);
  static bool accepts(const Place& place);

  // Sets the bits of the tokens that may follow, clears the others. False when finding them out is more work
  // than kMaxWalkBytes.
  bool find_allowed(Place& place, const TokenTrie& trie, TokenMask& mask);
  // The same, kept at the place: always call it with the same trie. Null instead of false.
  const TokenMask* allowed(Place& place, const TokenTrie& trie, size_t vocab_size);

  // Memory of what it has kept, roughly.
  size_t kept_bytes() const { return kept_bytes_; }
  // Forgets all but the places that somebody holds.
  void forget();

  // What one call of find_allowed() may look at: places and the edges between them, in bytes.
  static constexpr size_t kMaxWalkBytes = 32 << 20;

 private:
  struct Edge;

  Place* follow(Place& place, uint8_t byte_class);
  Place* place_of(const std::optional<Configurations>& configurations);
  bool charge(Place& place, Edge& edge);

  const ByteAutomaton automaton_;
  const ShortestWays ways_;
  std::array<uint8_t, 256> class_of_byte_{};
  std::vector<uint8_t> byte_of_class_;  // one that stands for all of its class
  ConfigurationSet set_;
  std::unordered_multimap<size_t, PlacePointer> places_;  // by hash
  PlacePointer start_;
  size_t kept_bytes_ = 0;
  uint64_t walk_ = 0;        // number of the last find_allowed()
  size_t walked_bytes_ = 0;  // of it
};

}  // namespace octet::worker
