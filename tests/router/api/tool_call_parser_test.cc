#include "router/api/tool_call_parser.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace octet::router {
namespace {

struct Parsed {
  std::string text;
  std::vector<std::string> calls;  // "name arguments"
  bool operator==(const Parsed&) const = default;
};

void take(ToolCallParser::Output output, Parsed& parsed) {
  parsed.text += output.text;
  for (const ToolCall& call : output.calls) parsed.calls.push_back(call.name + " " + call.arguments);
}

Parsed parse(const std::vector<std::string>& pieces) {
  ToolCallParser parser;
  Parsed parsed;
  for (const std::string& piece : pieces) take(parser.add(piece), parsed);
  take(parser.finish(), parsed);
  return parsed;
}

TEST(ToolCallParser, FindsCallsAndLeavesTheTextAround) {
  const std::string call = R"(<toolcall> {"name": "f", "arguments": {"a":[1,"x"]}} </toolcall>)";
  EXPECT_EQ(parse({call}), (Parsed{"", {R"(f {"a": [1, "x"]})"}}));
  EXPECT_EQ(parse({"Let me see.\n" + call + "\n"}), (Parsed{"Let me see.", {R"(f {"a": [1, "x"]})"}}));
  EXPECT_EQ(parse({call + " " + call + " Done. "}).calls.size(), 2U);
  EXPECT_EQ(parse({call + " Done. "}).text, " Done.");
}

TEST(ToolCallParser, KeepsEveryByteOfTextWithoutCalls) {
  for (const char* text :
       {"", " ", "a\n \n", "a < b", "<tool", "<toolcall", "x <toolcall>", "<toolcall></toolcall>",
        "<toolcall> {} </toolcall>\n", R"(<toolcall>{"name": 1, "arguments": {}}</toolcall>)",
        R"(<toolcall>{"name": "f", "arguments": "{}"}</toolcall> )", "</toolcall>",
        "<toolcall> {\"name\": \"f\", \"arguments\": {"}) {
    EXPECT_EQ(parse({text}), (Parsed{text, {}})) << text;
  }
}

TEST(ToolCallParser, TakesACallWithoutItsEndMarker) {
  EXPECT_EQ(parse({R"(<toolcall> {"name": "f", "arguments": {}})"}), (Parsed{"", {"f {}"}}));
}

TEST(ToolCallParser, GivesOutWhatCannotBelongToACallAtOnce) {
  ToolCallParser parser;
  EXPECT_EQ(parser.add("a <").text, "a");
  EXPECT_EQ(parser.add("b <tool").text, " <b");
  EXPECT_EQ(parser.add("call> {\"name\": \"f\", ").text, "");
  EXPECT_EQ(parser.add("\"arguments\": {}}</toolcal").calls.size(), 0U);
  EXPECT_EQ(parser.add("l>").calls.size(), 1U);
  EXPECT_EQ(parser.add("more").text, "more");
}

// However the text is cut, the outcome is the same.
TEST(ToolCallParser, DoesNotDependOnThePieces) {
  std::mt19937 random(7);
  const std::vector<std::string> words = {"<toolcall>",
                                          "</toolcall>",
                                          " ",
                                          "\n",
                                          "text",
                                          "<tool",
                                          "<",
                                          R"({"name": "f", )",
                                          R"("arguments": {"x": 1}})",
                                          "{}",
                                          ">",
                                          R"({"name": "g", "arguments": {}})"};
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    const size_t num_words = random() % 12;
    for (size_t i = 0; i < num_words; ++i) text += words[random() % words.size()];
    std::vector<std::string> pieces;
    for (size_t at = 0; at < text.size();) {
      const size_t length = 1 + random() % 5;
      pieces.push_back(text.substr(at, length));
      at += length;
    }
    ASSERT_EQ(parse(pieces), parse({text})) << text;
  }
}

}  // namespace
}  // namespace octet::router
