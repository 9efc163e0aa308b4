#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <string>

#include "tests/router/api/api_fixture.h"

namespace octet::router {
namespace {

namespace json = boost::json;

class TokenizeTest : public ApiTest {
 protected:
  // The ids that an answer holds.
  static std::vector<TokenId> ids(const FakeResponder& answer) {
    return json::value_to<std::vector<TokenId>>(answer.json().at("tokens"));
  }
};

TEST_F(TokenizeTest, GivesTheTokensOfAText) {
  for (const char* path : {"/v1/tokenize", "/tokenize"}) {
    const auto answer = call("POST", path, R"({"prompt": "<extra_id_1>Hello", "return_token_strs": true})");
    ASSERT_EQ(answer->status, 200) << answer->body;
    const std::vector<TokenId> expected = tokenizer->encode("<extra_id_1>Hello");
    EXPECT_EQ(ids(*answer), expected);
    EXPECT_EQ(answer->json().at("count"), expected.size());
    EXPECT_EQ(answer->json().at("max_model_len"), 256);
    EXPECT_EQ(answer->json().at("token_strs").at(0), "<extra_id_1>");
  }
}

TEST_F(TokenizeTest, GivesTheTokensOfAChat) {
  const auto answer = call("POST", "/v1/tokenize", R"({"messages": [{"role": "user", "content": "Hi"}]})");
  ASSERT_EQ(answer->status, 200) << answer->body;
  EXPECT_EQ(ids(*answer), chat_template->render({{.role = "user", .content = "Hi"}}).value());
  EXPECT_TRUE(answer->json().at("token_strs").is_null());
}

TEST_F(TokenizeTest, DetokenizeGivesTheTextBack) {
  const std::string text = "Hello  w\u00f6rld\n";
  const json::object body{{"tokens", json::value_from(tokenizer->encode(text))}};
  for (const char* path : {"/v1/detokenize", "/detokenize"}) {
    const auto answer = call("POST", path, json::serialize(body));
    ASSERT_EQ(answer->status, 200) << answer->body;
    EXPECT_EQ(json::value_to<std::string>(answer->json().at("prompt")), text);
  }
}

TEST_F(TokenizeTest, TellsThatControlTokensHaveNoText) {
  for (const char* path : {"/v1/tokenizer_info", "/tokenizer_info"}) {
    const auto answer = call("GET", path, "");
    ASSERT_EQ(answer->status, 200) << answer->body;
    EXPECT_EQ(answer->json(),
              (json::object{{"bos_token", nullptr}, {"eos_token", nullptr}, {"model_max_length", 256}}));
  }
  const auto control = call("POST", "/tokenize", R"({"prompt": "</s>"})");
  EXPECT_GT(control->json().at("count").as_int64(), 1);
}

TEST_F(TokenizeTest, RefusesEveryBadFieldByName) {
  struct Case {
    const char* path;
    const char* body;
    const char* param;
    int status;
  };
  for (const auto& [path, body, param, status] : std::vector<Case>{
           {"/v1/tokenize", "{}", "prompt", 400},
           {"/v1/tokenize", R"({"prompt": ["a"]})", "prompt", 400},
           {"/v1/tokenize", R"({"prompt": ""})", "prompt", 400},
           {"/v1/tokenize", R"({"prompt": "a", "messages": []})", "messages", 400},
           {"/v1/tokenize", R"({"messages": [{"role": "user"}]})", "messages[0].content", 400},
           {"/v1/tokenize", R"({"prompt": "a", "foo": 1})", "foo", 400},
           {"/v1/tokenize", R"({"prompt": "a", "add_special_tokens": 1})", "add_special_tokens", 400},
           {"/v1/detokenize", "{}", "tokens", 400},
           {"/v1/detokenize", R"({"tokens": []})", "tokens", 400},
           {"/v1/detokenize", R"({"tokens": [1600]})", "tokens", 400},
           {"/v1/detokenize", R"({"tokens": [-1]})", "tokens", 400},
           {"/v1/detokenize", R"({"tokens": ["a"]})", "tokens[0]", 400},
           {"/v1/detokenize", R"({"tokens": [5], "prompt": "a"})", "prompt", 400},
       }) {
    const auto answer = call("POST", path, body);
    ASSERT_EQ(answer->status, status) << body << " " << answer->body;
    EXPECT_EQ(answer->json().at("error").at("param"), param) << answer->body;
  }
  EXPECT_EQ(call("POST", "/v1/tokenize", R"({"prompt": "a", "model": "other"})")->status, 404);
  EXPECT_EQ(call("POST", "/v1/detokenize", R"({"tokens": [5], "model": "other"})")->status, 404);
  EXPECT_EQ(count("openai", "invalid"), 15);
}

TEST_F(TokenizeTest, RefusesMoreThanTheContextHolds) {
  const std::string text(256 * tokenizer->max_piece_bytes() + 1, 'a');
  EXPECT_EQ(call("POST", "/v1/tokenize", json::serialize(json::object{{"prompt", text}}))->status, 400);
  const json::object many{{"tokens", json::value_from(std::vector<int>(257, 5))}};
  EXPECT_EQ(call("POST", "/v1/detokenize", json::serialize(many))->status, 400);
}

}  // namespace
}  // namespace octet::router
