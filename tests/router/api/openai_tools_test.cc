#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <string>

#include "router/api/json_text.h"
#include "tests/router/api/api_fixture.h"

namespace octet::router {
namespace {

namespace json = boost::json;

constexpr const char* kTool =
    R"({"type":"function","function":{"name":"get_weather","description":"d","parameters":{"type":"object"}}})";
constexpr const char* kCall =
    R"(<toolcall> {"name": "get_weather", "arguments": {"city": "Rome"}} </toolcall>)";

class ToolsTest : public ApiTest {
 protected:
  void SetUp() override {
    ApiTest::SetUp();
    use_chat_format(ChatFormat::kNemotronMini);
  }

  std::shared_ptr<FakeResponder> ask(const std::string& members) {
    const std::string separator = members.empty() ? "" : ", ";
    return call("POST", "/v1/chat/completions",
                R"({"messages": [{"role": "user", "content": "Hi"}])" + separator + members + "}");
  }
  std::shared_ptr<FakeResponder> ask_with_tool(const std::string& members = "") {
    return ask(std::string(R"("tools": [)") + kTool + "]" + (members.empty() ? "" : ", " + members));
  }
  std::string prompt_text(size_t prompt) { return tokenizer->decode(request(prompt).prompt); }
};

TEST_F(ToolsTest, TellsTheModelItsTools) {
  ask_with_tool();
  EXPECT_EQ(prompt_text(0),
            "<extra_id_0>System\n<tool> {\"type\": \"function\", \"function\": {\"name\": \"get_weather\", "
            "\"description\": \"d\", \"parameters\": {\"type\": \"object\"}}} </tool>\n\n"
            "<extra_id_1>User\nHi\n<extra_id_1>Assistant\n");
}

TEST_F(ToolsTest, AnswersWithCalls) {
  const auto answer = ask_with_tool();
  say(0, 0, std::string("Let me see. ") + kCall + " " + kCall + "\n", FinishReason::kStop, "<extra_id_1>");
  done(0);
  const json::value choice = answer->json().at("choices").at(0);
  EXPECT_EQ(choice.at("finish_reason"), "tool_calls");
  EXPECT_EQ(choice.at("message").at("content"), "Let me see.");
  const json::array& calls = choice.at("message").at("tool_calls").as_array();
  ASSERT_EQ(calls.size(), 2U);
  EXPECT_EQ(calls[0].at("type"), "function");
  EXPECT_EQ(json_text(calls[0].at("function")),
            R"({"name":"get_weather","arguments":"{\"city\": \"Rome\"}"})");
  EXPECT_NE(calls[0].at("id"), calls[1].at("id"));
  EXPECT_FALSE(calls[0].as_object().contains("index"));
}

TEST_F(ToolsTest, ContentIsNullBesideCallsAlone) {
  const auto answer = ask_with_tool();
  say(0, 0, kCall, FinishReason::kStop);
  done(0);
  EXPECT_TRUE(answer->json().at("choices").at(0).at("message").at("content").is_null());
}

TEST_F(ToolsTest, StreamsEachCallWhenItIsWhole) {
  const auto answer = ask_with_tool(R"("stream": true)");
  const std::string text = std::string("See: ") + kCall;
  for (const char c : text) say(0, 0, std::string(1, c));
  say(0, 0, "", FinishReason::kStop);
  done(0);
  std::string content;
  json::array calls;
  for (const json::object& chunk : answer->chunks()) {
    const json::object& delta = chunk.at("choices").at(0).at("delta").as_object();
    if (const auto* part = delta.if_contains("content")) content += std::string(part->as_string());
    if (const auto* part = delta.if_contains("tool_calls")) calls.push_back(part->at(0));
  }
  EXPECT_EQ(content, "See:");
  ASSERT_EQ(calls.size(), 1U);
  EXPECT_EQ(calls[0].at("index"), 0);
  EXPECT_EQ(calls[0].at("function").at("arguments"), R"({"city": "Rome"})");
  EXPECT_EQ(answer->chunks().back().at("choices").at(0).at("finish_reason"), "tool_calls");
}

TEST_F(ToolsTest, LeavesWhatIsNoCallInTheContent) {
  const auto answer = ask_with_tool();
  say(0, 0, "<toolcall> oops </toolcall>", FinishReason::kStop);
  done(0);
  const json::value choice = answer->json().at("choices").at(0);
  EXPECT_EQ(choice.at("message").at("content"), "<toolcall> oops </toolcall>");
  EXPECT_EQ(choice.at("finish_reason"), "stop");
  EXPECT_FALSE(choice.at("message").as_object().contains("tool_calls"));
}

TEST_F(ToolsTest, WithoutToolsMarkersAreText) {
  for (const char* members : {"", R"("tool_choice": "none")"}) {
    const auto answer = std::string(members).empty() ? ask("") : ask_with_tool(members);
    const size_t prompt = num_started() - 1;
    EXPECT_EQ(prompt_text(prompt).find("<tool>"), std::string::npos);
    say(prompt, 0, kCall, FinishReason::kStop);
    done(prompt);
    EXPECT_EQ(answer->json().at("choices").at(0).at("message").at("content"), kCall);
  }
}

TEST_F(ToolsTest, ANamedToolIsCalledOnce) {
  const auto answer =
      ask_with_tool(R"("tool_choice": {"type": "function", "function": {"name": "get_weather"}})");
  EXPECT_TRUE(prompt_text(0).ends_with("Assistant\n<toolcall> "));
  EXPECT_TRUE(request(0).constraint.has_value());
  say(0, 0, R"({"name":"get_weather","arguments":{"city":"Rome"}})", FinishReason::kStop, "<extra_id_1>");
  done(0);
  const json::value choice = answer->json().at("choices").at(0);
  EXPECT_EQ(choice.at("message").at("tool_calls").at(0).at("function").at("arguments"),
            R"({"city": "Rome"})");
  EXPECT_EQ(choice.at("finish_reason"), "tool_calls");
}

TEST_F(ToolsTest, ARequiredCallIsOneOfTheTools) {
  const std::string other = R"({"type": "function", "function": {"name": "other"}})";
  ask(std::string(R"("tool_choice": "required", "tools": [)") + kTool + "," + other + "]");
  ASSERT_EQ(num_started(), 1U);
  EXPECT_TRUE(prompt_text(0).ends_with("<toolcall> "));
  EXPECT_TRUE(request(0).constraint.has_value());
  ask_with_tool();
  EXPECT_FALSE(request(1).constraint.has_value());
}

TEST_F(ToolsTest, WithoutParallelCallsTheFirstOneIsTheLast) {
  const auto answer = ask_with_tool(R"("parallel_tool_calls": false, "stop": "x")");
  EXPECT_EQ(request(0).stop, (std::vector<std::string>{"x", "</toolcall>"}));
  ask_with_tool(R"("parallel_tool_calls": true)");
  EXPECT_TRUE(request(1).stop.empty());
  say(0, 0, R"(<toolcall> {"name": "f", "arguments": {}} )", FinishReason::kStop, "</toolcall>");
  done(0);
  const json::value choice = answer->json().at("choices").at(0);
  EXPECT_EQ(choice.at("finish_reason"), "tool_calls");
  EXPECT_TRUE(choice.at("stop_reason").is_null());
}

TEST_F(ToolsTest, GivesCallsAndResultsBackToTheModel) {
  const auto answer = call("POST", "/v1/chat/completions", R"({"messages": [
      {"role": "user", "content": "Hi"},
      {"role": "assistant", "content": null, "tool_calls": [
          {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}}]},
      {"role": "tool", "tool_call_id": "c1", "content": "sunny"}]})");
  ASSERT_EQ(num_started(), 1U) << answer->body;
  EXPECT_EQ(prompt_text(0),
            "<extra_id_0>System\n\n<extra_id_1>User\nHi\n<extra_id_1>Assistant\n"
            "<toolcall> {\"name\": \"f\", \"arguments\": {\"a\": 1}} </toolcall>\n<extra_id_1>Tool\nsunny\n"
            "<extra_id_1>Assistant\n");
}

TEST_F(ToolsTest, ContinuesTheFinalMessage) {
  call("POST", "/v1/chat/completions",
       R"({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "He"}],
           "continue_final_message": true, "add_generation_prompt": false})");
  EXPECT_TRUE(prompt_text(0).ends_with("<extra_id_1>Assistant\nHe"));
}

TEST_F(ToolsTest, RefusesEveryBadFieldByName) {
  struct Case {
    std::string members;
    const char* param;
  };
  const std::string tools = std::string(R"("tools": [)") + kTool + "], ";
  const auto history = [](const char* last) {
    return std::string(R"("messages": [{"role": "user", "content": "Hi"}, )") + last + "]";
  };
  for (const auto& [members, param] : std::vector<Case>{
           {R"("tools": {})", "tools"},
           {R"("tools": [1])", "tools[0]"},
           {R"("tools": [{}])", "tools[0].type"},
           {R"("tools": [{"type": "function"}])", "tools[0].function"},
           {R"("tools": [{"type": "custom", "custom": {"name": "f"}}])", "tools[0].type"},
           {R"("tools": [{"type": "function", "function": {}}])", "tools[0].function.name"},
           {R"("tools": [{"type": "function", "function": {"name": "a b"}}])", "tools[0].function.name"},
           {R"("tools": [{"type": "function", "function": {"name": "f", "strict": true}}])",
            "tools[0].function.strict"},
           {R"("tools": [{"type": "function", "function": {"name": "f", "parameters": 1}}])",
            "tools[0].function.parameters"},
           {R"("tools": [{"type": "function", "function": {"name": "f", "x": 1}}])", "tools[0].function.x"},
           {R"("tool_choice": "auto")", "tool_choice"},
           {R"("parallel_tool_calls": true)", "parallel_tool_calls"},
           {tools + R"("tool_choice": "any")", "tool_choice"},
           {tools + R"("response_format": {"type": "json_object"})", "tools"},
           {R"("tool_choice": "required", "tools": [{"type": "function", "function":
               {"name": "f", "parameters": {"not": {}}}}])",
            "tool_choice"},
           {tools + R"("tool_choice": {"type": "function", "function": {"name": "other"}})",
            "tool_choice.function.name"},
           {tools + R"("tool_choice": {"type": "allowed_tools"})", "tool_choice.type"},
           {tools + R"("tool_choice": "required", "add_generation_prompt": false)", "tool_choice"},
           {R"("continue_final_message": true)", "continue_final_message"},
           {R"("continue_final_message": true, "add_generation_prompt": true)", "continue_final_message"},
           {history(R"({"role": "user", "content": "x", "tool_calls": [{}]})"), "messages[1].tool_calls"},
           {history(R"({"role": "assistant", "tool_calls": [1]})"), "messages[1].tool_calls[0]"},
           {history(R"({"role": "assistant", "tool_calls": [{"type": "function", "function":
                       {"name": "f", "arguments": "[]"}}]})"),
            "messages[1].tool_calls[0].function.arguments"},
           {history(R"({"role": "assistant", "tool_calls": []})"), "messages[1].content"},
           {history(R"({"role": "tool", "tool_call_id": "c9", "content": "x"})"), "messages[1].tool_call_id"},
           {history(R"({"role": "user", "tool_call_id": "c9", "content": "x"})"), "messages[1].tool_call_id"},
       }) {
    const bool own_messages = members.starts_with("\"messages\"");
    const auto answer =
        own_messages ? call("POST", "/v1/chat/completions", "{" + members + "}") : ask(members);
    ASSERT_EQ(answer->status, 400) << members << " " << answer->body;
    EXPECT_EQ(answer->json().at("error").at("param"), param) << answer->body;
  }
  EXPECT_EQ(num_started(), 0U);
}

TEST_F(ToolsTest, TheNemotron4FormatHasNone) {
  use_chat_format(ChatFormat::kNemotron4);
  const auto answer = ask_with_tool();
  EXPECT_EQ(answer->status, 400);
  EXPECT_EQ(answer->json().at("error").at("param"), "tools");
  EXPECT_NE(answer->body.find("nemotron-mini"), std::string::npos);
  EXPECT_EQ(ask_with_tool(R"("tool_choice": "none")")->status, 0);  // runs
}

}  // namespace
}  // namespace octet::router
