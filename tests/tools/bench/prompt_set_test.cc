#include "tools/bench/prompt_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "absl/strings/str_cat.h"

namespace octet::bench {
namespace {

using testing::HasSubstr;

std::string error_of(const std::string& line) {
  const absl::StatusOr<Prompt> prompt = parse_prompt(line);
  return prompt.ok() ? "" : std::string(prompt.status().message());
}

// A file of the test's own.
std::string write_file(const std::string& content) {
  const auto* test = testing::UnitTest::GetInstance()->current_test_info();
  std::string path = absl::StrCat(testing::TempDir(), test->test_suite_name(), ".", test->name(), ".jsonl");
  std::ofstream(path) << content;
  return path;
}

TEST(PromptSet, ReadsEveryKey) {
  const absl::StatusOr<Prompt> prompt = parse_prompt(
      R"({"prompt": "a\nb", "messages": [{"role": "user", "content": "hi"}], "expected": "é", "max_tokens": 7,)"
      R"( "temperature": 0.5, "seed": 18446744073709551615, "prompt_tokens": 3})");
  ASSERT_TRUE(prompt.ok()) << prompt.status();
  EXPECT_EQ(prompt->text, "a\nb");
  ASSERT_EQ(prompt->messages.size(), 1u);
  EXPECT_EQ(prompt->messages[0].role, "user");
  EXPECT_EQ(prompt->messages[0].content, "hi");
  EXPECT_EQ(prompt->expected, "é");
  EXPECT_EQ(prompt->max_tokens, 7u);
  EXPECT_EQ(prompt->temperature, 0.5);
  EXPECT_EQ(prompt->seed, UINT64_MAX);
  EXPECT_EQ(prompt->prompt_tokens, 3u);
}

TEST(PromptSet, IsGreedyWithoutExpectationByDefault) {
  const absl::StatusOr<Prompt> prompt = parse_prompt(R"({"prompt": ""})");
  ASSERT_TRUE(prompt.ok()) << prompt.status();
  EXPECT_EQ(prompt->text, "");
  EXPECT_EQ(prompt->temperature, 0);
  EXPECT_FALSE(prompt->expected.has_value());
}

TEST(PromptSet, RefusesWrongValuesByName) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"prompt": 3})", "prompt must be a string"},
      {R"({"prompt": "a", "expected": null})", "expected must be a string"},
      {R"({"prompt": "a", "max_tokens": 0})", "max_tokens must be an integer from 1 to 4294967295"},
      {R"({"prompt": "a", "max_tokens": 4294967296})", "max_tokens must be"},
      {R"({"prompt": "a", "max_tokens": 1.0})", "max_tokens must be"},
      {R"({"prompt": "a", "max_tokens": "1"})", "max_tokens must be"},
      {R"({"prompt": "a", "seed": -1})", "seed must be"},
      {R"({"prompt": "a", "temperature": 100.5})", "temperature must be a number from 0 to 100"},
      {R"({"prompt": "a", "temperature": -0.1})", "temperature must be"},
      {R"({"prompt": "a", "temperature": true})", "temperature must be"},
      {R"({"prompt": "a", "prompt_tokens": 0})", "prompt_tokens must be"},
      {R"({"prompt": "a", "top_k": 1})", "unknown key \"top_k\""},
      {R"({"messages": []})", "messages must be a list"},
      {R"({"messages": [{"role": "user"}]})", "messages must be a list"},
      {R"({"messages": [{"role": "user", "content": "a", "name": "b"}]})", "messages must be a list"},
      {R"({"expected": "a"})", "neither \"prompt\" nor \"messages\""},
      {R"(["prompt"])", "not a JSON object"},
      {R"({"prompt": "a")", "not JSON"},
      {"{\"prompt\": \"\xff\"}", "not JSON"},
      {R"({"prompt": [[[[[[1]]]]]]})", "not JSON"},
  };
  for (const auto& [line, message] : cases) EXPECT_THAT(error_of(line), HasSubstr(message)) << line;
}

TEST(PromptSet, SkipsBlankLinesAndKeepsLineNumbers) {
  const auto prompts = read_prompts(write_file("{\"prompt\": \"a\"}\n\n  \r\n{\"prompt\": \"b\"}"));
  ASSERT_TRUE(prompts.ok()) << prompts.status();
  ASSERT_EQ(prompts->size(), 2u);
  EXPECT_EQ((*prompts)[0].line, 1u);
  EXPECT_EQ((*prompts)[1].line, 4u);
}

TEST(PromptSet, NamesFileAndLineOfABadPrompt) {
  const std::string path = write_file("{\"prompt\": \"a\"}\n{\"prompt\": 1}\n");
  EXPECT_EQ(read_prompts(path).status().message(), absl::StrCat(path, ":2: prompt must be a string"));
}

TEST(PromptSet, RefusesLineOverTheLimit) {
  const std::string path = write_file("{\"prompt\": \"" + std::string(kMaxLineBytes, 'a') + "\"}\n");
  EXPECT_THAT(std::string(read_prompts(path).status().message()), HasSubstr(":1: 4194318 bytes in a line"));
}

TEST(PromptSet, RefusesMissingAndEmptyFiles) {
  EXPECT_EQ(read_prompts("/does/not/exist").status().message(), "/does/not/exist: cannot be read");
  const std::string path = write_file("\n");
  EXPECT_EQ(read_prompts(path).status().message(), path + ": holds no prompt");
}

TEST(PromptSet, ReadsTheNanoModelsPrompts) {
  const auto prompts = read_prompts("tools/bench/prompts/nano.jsonl");
  ASSERT_TRUE(prompts.ok()) << prompts.status();
  EXPECT_EQ(prompts->size(), 72u);
  for (const Prompt& prompt : *prompts)
    EXPECT_TRUE(prompt.text && prompt.expected && !prompt.messages.empty());
}

}  // namespace
}  // namespace octet::bench
