// What a byte automaton can be in the middle of, as one value: each state it can be in, with the calls it is
// inside of.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_set>
#include <vector>

#include "base/byte_automaton.h"

namespace octet::worker {

// Flat, for comparing and hashing. Each configuration is a head of two halves (state, number of frames) and
// its frames (call edge, texts that the call has gone over), the outermost first; in rising order.
struct Configurations {
  std::vector<uint64_t> words;
  bool accepts = false;  // the text so far matches

  bool operator==(const Configurations&) const = default;
};

// Collects configurations and adds those that they reach without a byte, then gives those that wait for one.
// Ways that are too deep (kMaxAutomatonDepth) or lead nowhere are left out.
class ConfigurationSet {
 public:
  // One text may be in so many configurations at once; an automaton that needs more there is too ambiguous.
  static constexpr size_t kMaxConfigurations = 1024;
  static constexpr size_t kMaxWords = 16 << 10;

  // Both must outlive this.
  ConfigurationSet(const ByteAutomaton& automaton, const ShortestWays& ways);

  void add_start();
  // What follows `from` and a byte.
  void add_after(const Configurations& from, uint8_t byte);
  // Nothing when there are too many. Empties the set.
  std::optional<Configurations> take();

 private:
  // frames[0] is the state, shifted by one, and whether the innermost frames were entered since the last
  // byte: a text that ends them is empty, and enter() has gone past it.
  using Item = std::vector<uint64_t>;
  struct HashItem {
    size_t operator()(const Item& item) const;
  };

  Configurations waiting_for_a_byte() const;
  void visit(uint32_t state, bool is_fresh, const uint64_t* frames, size_t num_frames);
  void expand(const Item& item);
  void leave(const Item& item);
  void enter(uint32_t edge, uint32_t num_done, const Item& item, size_t num_frames, bool is_fresh);
  bool is_bare_end(uint32_t state) const;

  const ByteAutomaton& automaton_;
  const ShortestWays& ways_;
  std::unordered_set<Item, HashItem> items_;
  std::vector<const Item*> unexpanded_;
  size_t num_words_ = 0;
  bool accepts_ = false;
};

size_t hash_words(const std::vector<uint64_t>& words);

}  // namespace octet::worker
