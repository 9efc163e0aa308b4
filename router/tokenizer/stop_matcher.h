// Finds stop strings in text that comes in pieces, and never lets out a byte that may belong to one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace octet::router {

class StopMatcher {
 public:
  enum class Keep { kDropStop, kKeepStop };
  // Empty stop strings are ignored.
  StopMatcher(std::vector<std::string> stops, Keep keep);

  struct Result {
    std::string text;                    // safe to show now
    std::optional<std::string> matched;  // the stop string; text ends before it, or with it for kKeepStop
  };
  // The match that is complete first wins, so that generation ends with it; of two that end together, the
  // longer. How the text is cut into pieces makes no difference. Text after the match is dropped. After a
  // match: no more calls.
  Result add(std::string_view text);
  // The text held back, when the sequence ended for another reason. Nothing is held back after it.
  std::string finish();
  // Bytes held back now: always fewer than the longest stop string has.
  size_t num_held_bytes() const { return held_.size(); }

 private:
  // One stop string with the Knuth-Morris-Pratt state of the text so far.
  struct Stop {
    std::string text;
    std::vector<uint32_t>
        border;  // [text.size()] length of the longest proper prefix of text[0..i] that also ends it
    uint32_t num_matched = 0;  // length of the longest prefix of text that ends the input
  };
  static void advance(Stop& stop, char byte);

  std::vector<Stop> stops_;
  Keep keep_;
  std::string held_;  // the end of the input that begins a stop string
};

}  // namespace octet::router
