#include "router/tokenizer/stop_matcher.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace octet::router {
namespace {

struct Outcome {
  std::string text;
  std::optional<std::string> matched;
  bool operator==(const Outcome&) const = default;
};

// By definition: the shortest prefix of the text that ends with a stop string, the longest such stop string.
Outcome by_definition(const std::string& text, const std::vector<std::string>& stops,
                      StopMatcher::Keep keep) {
  for (size_t end = 1; end <= text.size(); ++end) {
    const std::string prefix = text.substr(0, end);
    std::string longest;
    for (const std::string& stop : stops) {
      if (prefix.ends_with(stop) && stop.size() > longest.size()) longest = stop;
    }
    if (longest.empty()) continue;
    const bool keeps = keep == StopMatcher::Keep::kKeepStop;
    return {prefix.substr(0, keeps ? end : end - longest.size()), longest};
  }
  return {text, std::nullopt};
}

// The matcher's outcome for a text in pieces. Checks on the way what it holds back.
Outcome in_pieces(const std::vector<std::string>& pieces, const std::vector<std::string>& stops,
                  StopMatcher::Keep keep) {
  size_t longest = 0;
  for (const std::string& stop : stops) longest = std::max(longest, stop.size());
  StopMatcher matcher(stops, keep);
  Outcome outcome;
  for (const std::string& piece : pieces) {
    StopMatcher::Result result = matcher.add(piece);
    outcome.text += result.text;
    if (result.matched) {
      outcome.matched = result.matched;
      EXPECT_EQ(matcher.num_held_bytes(), 0U);
      return outcome;
    }
    EXPECT_LE(matcher.num_held_bytes(), longest == 0 ? 0 : longest - 1);
  }
  outcome.text += matcher.finish();
  EXPECT_EQ(matcher.num_held_bytes(), 0U);
  return outcome;
}

TEST(StopMatcher, AnySplitGivesWhatTheDefinitionSays) {
  std::mt19937 random(21);
  const auto random_string = [&](size_t min, size_t max) {
    std::string s(min + random() % (max - min + 1), ' ');
    for (char& c : s) c = static_cast<char>('a' + random() % 2);
    return s;
  };
  for (int round = 0; round < 30000; ++round) {
    std::vector<std::string> stops(random() % 4);
    for (std::string& stop : stops) stop = random_string(1, 5);
    const std::string text = random_string(0, 14);
    std::vector<std::string> pieces;
    for (size_t at = 0; at < text.size();) {
      const size_t length = random() % 5;  // 0 makes an empty piece
      pieces.push_back(text.substr(at, length));
      at += length;
    }
    const auto keep = random() % 2 == 0 ? StopMatcher::Keep::kDropStop : StopMatcher::Keep::kKeepStop;
    ASSERT_EQ(in_pieces(pieces, stops, keep), by_definition(text, stops, keep))
        << text << " " << testing::PrintToString(stops) << " " << testing::PrintToString(pieces);
  }
}

TEST(StopMatcher, ReleasesTextAsSoonAsNoStopStringCanBeginInIt) {
  StopMatcher matcher({"\nUser:"}, StopMatcher::Keep::kDropStop);
  EXPECT_EQ(matcher.add("hello").text, "hello");
  EXPECT_EQ(matcher.add("!\nUs").text, "!");
  EXPECT_EQ(matcher.num_held_bytes(), 3U);
  EXPECT_EQ(matcher.add("ing").text, "\nUsing");
  EXPECT_EQ(matcher.num_held_bytes(), 0U);
}

TEST(StopMatcher, DropsOrKeepsTheStopStringAndDropsWhatFollows) {
  StopMatcher dropping({"STOP"}, StopMatcher::Keep::kDropStop);
  const auto dropped = dropping.add("so STOP now");
  EXPECT_EQ(dropped.text, "so ");
  EXPECT_EQ(dropped.matched, "STOP");
  StopMatcher keeping({"STOP"}, StopMatcher::Keep::kKeepStop);
  EXPECT_EQ(keeping.add("so STOP now").text, "so STOP");
}

TEST(StopMatcher, TheMatchThatIsCompleteFirstWins) {
  StopMatcher matcher({"abcd", "bc"}, StopMatcher::Keep::kDropStop);
  const auto result = matcher.add("xabcd");
  EXPECT_EQ(result.text, "xa");
  EXPECT_EQ(result.matched, "bc");
}

TEST(StopMatcher, OfTwoThatEndTogetherTheLongerWins) {
  StopMatcher matcher({"b", "ab"}, StopMatcher::Keep::kDropStop);
  const auto result = matcher.add("xab");
  EXPECT_EQ(result.text, "x");
  EXPECT_EQ(result.matched, "ab");
}

TEST(StopMatcher, AStopStringMayBeTheWholeText) {
  StopMatcher matcher({"\u65e5\u672c"}, StopMatcher::Keep::kDropStop);
  EXPECT_EQ(matcher.add("\u65e5").text, "");
  const auto result = matcher.add("\u672c");
  EXPECT_EQ(result.text, "");
  EXPECT_EQ(result.matched, "\u65e5\u672c");
}

TEST(StopMatcher, ACharacterWithTheSameFirstByteIsReleasedWhole) {
  StopMatcher matcher({"\u00e9"}, StopMatcher::Keep::kDropStop);  // C3 A9
  EXPECT_EQ(matcher.add("\u00e8").text, "\u00e8");                // C3 A8
  EXPECT_EQ(matcher.num_held_bytes(), 0U);
}

TEST(StopMatcher, WithoutStopStringsEverythingPasses) {
  StopMatcher matcher({}, StopMatcher::Keep::kDropStop);
  EXPECT_EQ(matcher.add("abc").text, "abc");
  StopMatcher with_empty({""}, StopMatcher::Keep::kDropStop);
  EXPECT_EQ(with_empty.add("abc").text, "abc");
  EXPECT_EQ(with_empty.finish(), "");
}

}  // namespace
}  // namespace octet::router
