#include "router/tokenizer/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace octet::router {
namespace {

std::vector<uint32_t> borders_of(std::string_view text) {
  std::vector<uint32_t> border(text.size(), 0);
  for (size_t i = 1; i < text.size(); ++i) {
    uint32_t length = border[i - 1];
    while (length > 0 && text[length] != text[i]) length = border[length - 1];
    border[i] = text[length] == text[i] ? length + 1 : 0;
  }
  return border;
}

}  // namespace

StopMatcher::StopMatcher(std::vector<std::string> stops, Keep keep) : keep_(keep) {
  for (std::string& text : stops) {
    if (text.empty()) continue;
    std::vector<uint32_t> border = borders_of(text);
    stops_.push_back({.text = std::move(text), .border = std::move(border)});
  }
}

// A complete match ends the search, so num_matched is always below the stop string's length here.
void StopMatcher::advance(Stop& stop, char byte) {
  uint32_t& length = stop.num_matched;
  while (length > 0 && stop.text[length] != byte) length = stop.border[length - 1];
  if (stop.text[length] == byte) ++length;
}

StopMatcher::Result StopMatcher::add(std::string_view text) {
  size_t num_may_match = held_.size();
  held_.append(text);
  for (size_t end = num_may_match + 1; end <= held_.size(); ++end) {
    const Stop* match = nullptr;
    num_may_match = 0;
    for (Stop& stop : stops_) {
      advance(stop, held_[end - 1]);
      num_may_match = std::max<size_t>(num_may_match, stop.num_matched);
      const bool complete = stop.num_matched == stop.text.size();
      if (complete && (match == nullptr || stop.text.size() > match->text.size())) match = &stop;
    }
    if (match != nullptr) {
      held_.resize(keep_ == Keep::kKeepStop ? end : end - match->text.size());
      return {.text = std::exchange(held_, {}), .matched = match->text};
    }
  }
  const size_t num_safe = held_.size() - num_may_match;
  Result result{.text = held_.substr(0, num_safe), .matched = std::nullopt};
  held_.erase(0, num_safe);
  return result;
}

std::string StopMatcher::finish() {
  for (Stop& stop : stops_) stop.num_matched = 0;
  return std::exchange(held_, {});
}

}  // namespace octet::router
