// Stop strings in a text that comes in pieces, against a search in the whole text.
#include <algorithm>
#include <string>
#include <vector>

#include "base/check.h"
#include "router/tokenizer/stop_matcher.h"
#include "tests/fuzz/input.h"

namespace octet::router {
namespace {

using Keep = StopMatcher::Keep;

// What StopMatcher promises, by its definition.
StopMatcher::Result search(const std::vector<std::string>& stops, std::string_view text, Keep keep) {
  for (size_t end = 1; end <= text.size(); ++end) {
    const std::string* found = nullptr;
    for (const std::string& stop : stops) {
      const bool ends_here = !stop.empty() && text.substr(0, end).ends_with(stop);
      if (ends_here && (found == nullptr || stop.size() > found->size())) found = &stop;
    }
    if (found == nullptr) continue;
    return {.text = std::string(text.substr(0, keep == Keep::kKeepStop ? end : end - found->size())),
            .matched = *found};
  }
  return {.text = std::string(text), .matched = std::nullopt};
}

StopMatcher::Result match(const std::vector<std::string>& stops, const std::vector<std::string_view>& pieces,
                          Keep keep) {
  size_t longest = 1;
  for (const std::string& stop : stops) longest = std::max(longest, stop.size());
  StopMatcher matcher(stops, keep);
  StopMatcher::Result all;
  for (const std::string_view piece : pieces) {
    StopMatcher::Result result = matcher.add(piece);
    all.text += result.text;
    all.matched = std::move(result.matched);
    if (all.matched) return all;
    OCTET_CHECK(matcher.num_held_bytes() < longest, matcher.num_held_bytes());
  }
  all.text += matcher.finish();
  return all;
}

}  // namespace
}  // namespace octet::router

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace octet::router;
  octet::fuzz::Input input(data, size);
  const Keep keep = input.flag() ? Keep::kKeepStop : Keep::kDropStop;
  std::vector<std::string> stops(input.below(5));
  for (std::string& stop : stops) stop = input.line();
  std::string text;
  std::vector<std::string_view> pieces;
  std::vector<size_t> ends;
  while (!input.empty()) {
    text += input.line();
    ends.push_back(text.size());
  }
  size_t begin = 0;
  for (const size_t end : ends) {
    pieces.push_back(std::string_view(text).substr(begin, end - begin));
    begin = end;
  }
  const auto expected = search(stops, text, keep);
  const auto found = match(stops, pieces, keep);
  OCTET_CHECK(found.matched == expected.matched, text);
  OCTET_CHECK(found.text == expected.text, found.text, " ", expected.text);
  return 0;
}
