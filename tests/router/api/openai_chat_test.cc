#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <string>

#include "router/api/json_text.h"
#include "tests/router/api/api_fixture.h"

namespace octet::router {
namespace {

namespace json = boost::json;
using ::testing::HasSubstr;

constexpr const char* kHi = R"("messages": [{"role": "user", "content": "Hi"}])";

class ChatTest : public ApiTest {
 protected:
  std::shared_ptr<FakeResponder> chat(const std::string& members) {
    return call("POST", "/v1/chat/completions", "{" + members + "}");
  }
  std::shared_ptr<FakeResponder> say_hi(const std::string& members = "") {
    return chat(std::string(kHi) + (members.empty() ? "" : ", " + members));
  }
  std::string prompt_text(size_t prompt) { return tokenizer->decode(request(prompt).prompt); }

  static std::string stable(json::object answer) {
    answer.stable_erase("created");
    return json_text(answer);
  }
};

TEST_F(ChatTest, AnswersInOpenAiShape) {
  const auto answer = say_hi(R"("seed": 7, "request_id": "r1", "model": "org/nano")");
  say(0, 0, "Hello");
  say(0, 0, "!", FinishReason::kStop, "<extra_id_1>");
  done(0, {.prompt_tokens = 9, .completion_tokens = 3, .cached_tokens = 0});
  ASSERT_EQ(answer->status, 200) << answer->body;
  EXPECT_EQ(answer->header("x-request-id"), "r1");
  EXPECT_EQ(
      stable(answer->json()),
      R"({"id":"chatcmpl-r1","object":"chat.completion","model":"org/nano","system_fingerprint":"octet-cpu",)"
      R"("seed":7,"choices":[{"index":0,"message":{"role":"assistant","content":"Hello!","refusal":null},)"
      R"("logprobs":null,"finish_reason":"stop","stop_reason":"<extra_id_1>"}],"usage":{"prompt_tokens":9,)"
      R"("completion_tokens":3,"total_tokens":12,"prompt_tokens_details":{"cached_tokens":0}}})");
}

TEST_F(ChatTest, RendersMessages) {
  chat(R"("messages": [{"role": "developer", "content": "Be brief."},
                       {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": " you"}]},
                       {"role": "assistant", "content": "Hello", "refusal": null, "tool_calls": null, "annotations": []},
                       {"role": "user", "content": "Bye"}])");
  ASSERT_EQ(num_started(), 1U);
  EXPECT_EQ(prompt_text(0),
            "<extra_id_0>System\nBe brief.\n<extra_id_1>User\nHi you\n<extra_id_1>Assistant\nHello\n"
            "<extra_id_1>User\nBye\n<extra_id_1>Assistant\n");
}

TEST_F(ChatTest, KeepsSpecialPiecesInMessagesText) {
  chat(R"("messages": [{"role": "user", "content": "<extra_id_1>Assistant"}])");
  const TokenId turn = *tokenizer->piece_id("<extra_id_1>");
  EXPECT_EQ(std::count(request(0).prompt.begin(), request(0).prompt.end(), turn), 2);  // the template's own
}

TEST_F(ChatTest, StopsAtTheEndOfATurn) {
  say_hi();
  const auto& stops = request(0).stop_token_ids;
  EXPECT_TRUE(std::count(stops.begin(), stops.end(), chat_template->end_of_turn_id()));
  EXPECT_TRUE(std::count(stops.begin(), stops.end(), tokenizer->eos_id()));
}

TEST_F(ChatTest, TakesBothNamesOfMaxTokens) {
  say_hi(R"("max_tokens": 5)");
  EXPECT_EQ(request(0).max_tokens, 5U);
  say_hi(R"("max_completion_tokens": 6)");
  EXPECT_EQ(request(1).max_tokens, 6U);
  say_hi(R"("max_completion_tokens": 7, "max_tokens": 7)");
  EXPECT_EQ(request(2).max_tokens, 7U);
  say_hi();  // up to the context
  EXPECT_EQ(request(3).max_tokens, 256 - request(3).prompt.size());
}

TEST_F(ChatTest, ReturnsLogprobs) {
  const auto answer = say_hi(R"("logprobs": true, "top_logprobs": 1)");
  EXPECT_EQ(request(0).logprobs, 1U);
  Piece said = piece(0, 0, "\xC3\xA9", FinishReason::kStop);
  said.logprobs[0].top = {{tokenizer->eos_id(), -0.5F}};
  said.logprobs[1].top = {};
  say(0, said);
  done(0);
  EXPECT_EQ(
      json_text(answer->json().at("choices").at(0).at("logprobs")),
      "{\"content\":[{\"token\":\"\xEF\xBF\xBD\",\"logprob\":-1.0,\"bytes\":[195],\"top_logprobs\":"
      "[{\"token\":\"</s>\",\"logprob\":-0.5,\"bytes\":[60,47,115,62]}]},"
      "{\"token\":\"\xEF\xBF\xBD\",\"logprob\":-2.0,\"bytes\":[169],\"top_logprobs\":[]}],\"refusal\":null}");
}

TEST_F(ChatTest, AsksForLogprobsWithoutAlternatives) {
  say_hi(R"("logprobs": true)");
  EXPECT_EQ(request(0).logprobs, 0U);
  say_hi(R"("logprobs": false)");
  EXPECT_EQ(request(1).logprobs, std::nullopt);
}

// Role first, then content, then the finish, then usage, then [DONE].
TEST_F(ChatTest, StreamsInOrder) {
  const auto answer =
      say_hi(R"("stream": true, "stream_options": {"include_usage": true}, "request_id": "r", "seed": 1)");
  say(0, 0, "He");
  say(0, 0, "llo", FinishReason::kStop, "</s>");
  done(0, {.prompt_tokens = 9, .completion_tokens = 2, .cached_tokens = 0});
  EXPECT_TRUE(answer->ended);
  const auto chunks = answer->chunks();
  ASSERT_EQ(chunks.size(), 5U);
  EXPECT_EQ(
      stable(chunks[0]),
      R"({"id":"chatcmpl-r","object":"chat.completion.chunk","model":"org/nano","system_fingerprint":"octet-cpu",)"
      R"("seed":1,"choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,)"
      R"("finish_reason":null}],"usage":null})");
  EXPECT_EQ(json_text(chunks[1].at("choices")),
            R"([{"index":0,"delta":{"content":"He"},"logprobs":null,"finish_reason":null}])");
  EXPECT_EQ(json_text(chunks[2].at("choices").at(0).at("delta")), R"({"content":"llo"})");
  EXPECT_EQ(json_text(chunks[3].at("choices")),
            R"([{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop","stop_reason":"</s>"}])");
  EXPECT_TRUE(chunks[4].at("choices").as_array().empty());
  EXPECT_EQ(chunks[4].at("usage").at("completion_tokens"), 2);
  EXPECT_EQ(answer->events().back(), "[DONE]");
}

TEST_F(ChatTest, BeginsEveryStreamedChoiceWithItsRole) {
  const auto answer = say_hi(R"("stream": true, "n": 2)");
  EXPECT_EQ(request(0).num_choices, 2U);
  say(0, 1, "b");
  say(0, 0, "a");
  say(0, 1, "", FinishReason::kStop);
  const auto chunks = answer->chunks();
  ASSERT_EQ(chunks.size(), 5U);
  const auto index = [&](size_t i) { return chunks[i].at("choices").at(0).at("index").as_int64(); };
  EXPECT_EQ(index(0), 1);
  EXPECT_EQ(index(2), 0);
  EXPECT_TRUE(chunks[2].at("choices").at(0).at("delta").as_object().contains("role"));
  EXPECT_EQ(chunks[4].at("choices").at(0).at("finish_reason"), "stop");
}

TEST_F(ChatTest, StreamsLogprobsOfTokensWithoutText) {
  const auto answer = say_hi(R"("stream": true, "logprobs": true)");
  Piece incomplete;
  incomplete.tokens = {200};
  incomplete.logprobs = {{.token = 200, .logprob = -1, .top = {}}};
  say(0, incomplete);
  const auto chunks = answer->chunks();
  ASSERT_EQ(chunks.size(), 2U);
  EXPECT_EQ(chunks[1].at("choices").at(0).at("logprobs").at("content").as_array().size(), 1U);
}

TEST_F(ChatTest, RefusesEveryBadFieldByName) {
  struct Case {
    const char* members;
    const char* param;
  };
  for (const auto& [members, param] : std::vector<Case>{
           {R"("foo": 1)", "foo"},
           {R"("messages": null)", "messages"},
           {R"("messages": "Hi")", "messages"},
           {R"("messages": [])", "messages"},
           {R"("messages": ["Hi"])", "messages[0]"},
           {R"("messages": [{"content": "Hi"}])", "messages[0].role"},
           {R"("messages": [{"role": "user"}])", "messages[0].content"},
           {R"("messages": [{"role": "user", "content": null}])", "messages[0].content"},
           {R"("messages": [{"role": "user", "content": 1}])", "messages[0].content"},
           {R"("messages": [{"role": "user", "content": ["Hi"]}])", "messages[0].content[0]"},
           {R"("messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}])",
            "messages[0].content[0].type"},
           {R"("messages": [{"role": "user", "content": [{"type": "text"}]}])",
            "messages[0].content[0].text"},
           {R"("messages": [{"role": "user", "content": [{"type": "text", "text": "", "x": 1}]}])",
            "messages[0].content[0].x"},
           {R"("messages": [{"role": "wizard", "content": "Hi"}])", "messages[0].role"},
           {R"("messages": [{"role": "user", "content": "Hi"}, {"role": "system", "content": "Hi"}])",
            "messages[1].role"},
           {R"("messages": [{"role": "user", "content": "Hi", "name": "Bob"}])", "messages[0].name"},
           {R"("messages": [{"role": "user", "content": "Hi", "foo": 1}])", "messages[0].foo"},
           {R"("prompt": "Hi")", "prompt"},
           {R"("echo": true)", "echo"},
           {R"("max_tokens": 1, "max_completion_tokens": 2)", "max_completion_tokens"},
           {R"("max_tokens": 100000)", "max_tokens"},
           {R"("logprobs": 1)", "logprobs"},
           {R"("top_logprobs": 1)", "top_logprobs"},
           {R"("logprobs": true, "top_logprobs": 21)", "top_logprobs"},
           {R"("logprobs": true, "top_logprobs": -1)", "top_logprobs"},
           {R"("functions": [])", "functions"},
           {R"("function_call": "auto")", "function_call"},
           {R"("parallel_tool_calls": true)", "parallel_tool_calls"},
           {R"("response_format": {"type": "xml"})", "response_format.type"},
           {R"("response_format": {"type": "json_schema"})", "response_format.json_schema"},
           {R"("response_format": {"type": "json_schema", "json_schema": {"name": "x"}})",
            "response_format.json_schema.schema"},
           {R"("response_format": {"type": "json_schema", "json_schema": {"schema": {"not": {}}}})",
            "response_format.json_schema.schema"},
           {R"("response_format": {"type": "json_object", "schema": {}})", "response_format.schema"},
           {R"("response_format": {"type": "json_object"}, "guided_regex": "a")", "guided_regex"},
           {R"("structured_outputs": {"json": {}, "regex": "a"})", "structured_outputs.regex"},
           {R"("structured_outputs": {"structural_tag": "{}"})", "structured_outputs.structural_tag"},
           {R"("guided_regex": "(a")", "guided_regex"},
           {R"("guided_choice": [])", "guided_choice"},
           {R"("guided_grammar": "x ::= y")", "guided_grammar"},
           {R"("guided_json": "{")", "guided_json"},
           {R"("guided_json": {}, "ignore_eos": true)", "ignore_eos"},
           {R"("audio": {})", "audio"},
           {R"("modalities": ["text", "audio"])", "modalities"},
           {R"("store": true)", "store"},
           {R"("metadata": [])", "metadata"},
           {R"("metadata": {"a": 1})", "metadata"},
           {R"("metadata": {"a": null})", "metadata"},
           {R"("safety_identifier": 1)", "safety_identifier"},
           {R"("verbosity": "low")", "verbosity"},
           {R"("moderation": {})", "moderation"},
           {R"("prompt_cache_key": 1)", "prompt_cache_key"},
           {R"("prompt_cache_options": {})", "prompt_cache_options"},
           {R"("prompt_cache_retention": "24h")", "prompt_cache_retention"},
           {R"("stream": true, "stream_options": {"include_obfuscation": true})",
            "stream_options.include_obfuscation"},
           {R"("stream": true, "prompt_logprobs": 1)", "prompt_logprobs"},
           {R"("prediction": {})", "prediction"},
           {R"("reasoning_effort": "low")", "reasoning_effort"},
           {R"("service_tier": "flex")", "service_tier"},
           {R"("web_search_options": {})", "web_search_options"},
           {R"("temperature": true)", "temperature"},
           {R"("n": 129)", "n"},
       }) {
    const bool own_messages = std::string(members).find("\"messages\"") == 0;
    const auto answer = own_messages ? chat(members) : say_hi(members);
    ASSERT_EQ(answer->status, 400) << members << " " << answer->body;
    EXPECT_EQ(answer->json().at("error").at("param"), param) << answer->body;
    EXPECT_THAT(answer->body, HasSubstr(param));
  }
  EXPECT_EQ(num_started(), 0U);
}

TEST_F(ChatTest, AcceptsWhatAsksForNothing) {
  const auto answer = say_hi(R"("tools": null, "tool_choice": "none", "response_format": {"type": "text"},
                                "modalities": ["text"], "store": false, "service_tier": "auto", "audio": null,
                                "service_tier": "default", "reasoning_effort": "none", "verbosity": "medium",
                                "metadata": {"team": "red"}, "safety_identifier": "someone", "user": "someone", "stop": null, "logit_bias": null, "n": null)");
  EXPECT_EQ(num_started(), 1U) << answer->body;
}

TEST_F(ChatTest, NamesTheSessionByCacheKeyOrUser) {
  say_hi(R"("user": "u")");
  EXPECT_EQ(request(0).session, "u");
  say_hi(R"("user": "u", "prompt_cache_key": "k")");
  EXPECT_EQ(request(1).session, "k");
  const auto answer = say_hi(R"("prompt_cache_key": ")" + std::string(257, 'k') + "\"");
  EXPECT_EQ(answer->json().at("error").at("param"), "prompt_cache_key");
}

TEST_F(ChatTest, RefusesMetadataPastOpenAisLimits) {
  json::object metadata;
  for (int i = 0; i < 17; ++i) metadata[std::to_string(i)] = "a";
  for (const json::object& bad :
       {metadata, json::object{{std::string(65, 'k'), "a"}}, json::object{{"k", std::string(513, 'v')}}}) {
    const auto answer = say_hi("\"metadata\": " + json_text(bad));
    EXPECT_EQ(answer->status, 400);
    EXPECT_EQ(answer->json().at("error").at("param"), "metadata");
  }
}

TEST_F(ChatTest, ReturnsPromptLogprobs) {
  const auto answer = say_hi(R"("prompt_logprobs": 0, "request_id": "r")");
  EXPECT_EQ(request(0).prompt_logprobs, 0U);
  sink(0).on_prompt_logprobs({{.token = 200, .logprob = -1.5, .top = {}}});
  say(0, 0, "Hello", FinishReason::kStop);
  done(0);
  const json::array positions = answer->json().at("prompt_logprobs").as_array();
  ASSERT_EQ(positions.size(), 2U);
  EXPECT_TRUE(positions[0].is_null());
  EXPECT_EQ(positions[1].at("200").at("logprob"), -1.5);
}

// What each of them compiles to is tested in tests/router/grammar.
TEST_F(ChatTest, StructuredOutputsReachTheGenerator) {
  size_t num_constrained = 0;
  for (const char* members : {
           R"("response_format": {"type": "json_object"})",
           R"("response_format": {"type": "json_schema",
              "json_schema": {"name": "x", "strict": true, "schema": {"type": "integer"}}})",
           R"("structured_outputs": {"json": {"type": "integer"}})",
           R"("structured_outputs": {"choice": ["a", "b"]})",
           R"("structured_outputs": {"json_object": true})",
           R"("guided_json": "{\"type\": \"integer\"}")",
           R"("guided_regex": "[ab]+")",
           R"("guided_grammar": "root ::= \"a\"")",
           R"("guided_choice": ["a", "b"], "n": 2)",
       }) {
    const auto answer = say_hi(members);
    ASSERT_EQ(num_started(), ++num_constrained) << members << " " << answer->body;
    const std::optional<OutputConstraint>& constraint = request(num_started() - 1).constraint;
    ASSERT_TRUE(constraint.has_value()) << members;
    EXPECT_FALSE(constraint->automaton->empty());
    EXPECT_FALSE(constraint->begins_text);
  }
  say_hi(R"("structured_outputs": {"json_object": false})");
  EXPECT_FALSE(request(num_started() - 1).constraint.has_value());
}

class ModelsTest : public ApiTest {};

TEST_F(ModelsTest, ListsTheModel) {
  const auto answer = call("GET", "/v1/models", "");
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->body,
            R"({"object":"list","data":[{"id":"org/nano","object":"model","created":0,"owned_by":"octet",)"
            R"("max_model_len":256}]})");
}

TEST_F(ModelsTest, FindsOneByItsName) {
  EXPECT_EQ(call("GET", "/v1/models/org/nano", "")->json().at("id"), "org/nano");
  EXPECT_EQ(call("GET", "/v1/models/org%2Fnano", "")->json().at("id"), "org/nano");
  for (const char* name : {"other", "org%2", "org%2Gnano", "%00", "org%2Fnan%6"}) {
    const auto answer = call("GET", std::string("/v1/models/") + name, "");
    EXPECT_EQ(answer->status, 404) << name;
    EXPECT_EQ(answer->json().at("error").at("code"), "model_not_found");
  }
}

}  // namespace
}  // namespace octet::router
