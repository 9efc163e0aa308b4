// Finds stop strings in text that comes in pieces, and never lets out a byte that may belong to one.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace octet::router {

class StopMatcher {
 public:
  enum class Keep { kDropStop, kKeepStop };
  StopMatcher(std::vector<std::string> stops, Keep keep);

  struct Result {
    std::string text;                     // safe to show now
    std::optional<std::string> matched;   // the stop string; text ends before it, or with it for kKeepStop
  };
  // The earliest match in the text wins; of two that start together, the one that ends first. After a match: no more calls.
  Result add(std::string_view text);
  // The text held back, when the sequence ended for another reason.
  std::string finish();
  // Bytes held back now.
  size_t num_held_bytes() const { return held_.size(); }

 private:
  std::vector<std::string> stops_;
  Keep keep_;
  std::string held_;
};

}  // namespace octet::router
