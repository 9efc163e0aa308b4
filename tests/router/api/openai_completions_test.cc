#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <string>

#include "base/status.h"
#include "router/api/json_text.h"
#include "tests/router/api/api_fixture.h"

namespace octet::router {
namespace {

namespace json = boost::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class CompletionsTest : public ApiTest {
 protected:
  std::shared_ptr<FakeResponder> complete(const std::string& body) {
    return call("POST", "/v1/completions", body);
  }

  // The answer without what differs from run to run.
  static std::string stable(json::object answer) {
    answer.stable_erase("created");
    return json_text(answer);
  }
};

TEST_F(CompletionsTest, AnswersInOpenAiShape) {
  const auto answer = complete(R"({"model": "org/nano", "prompt": "Hello", "seed": 7, "request_id": "r1"})");
  ASSERT_EQ(num_started(), 1U);
  say(0, 0, " wor");
  say(0, 0, "ld", FinishReason::kStop, "<extra_id_1>");
  EXPECT_EQ(answer->status, 0);  // not before it is whole
  done(0, {.prompt_tokens = 5, .completion_tokens = 3, .cached_tokens = 2});
  ASSERT_EQ(answer->status, 200) << answer->body;
  EXPECT_EQ(answer->content_type, "application/json");
  EXPECT_EQ(answer->header("x-request-id"), "r1");
  EXPECT_GT(answer->json().at("created").as_int64(), 1'500'000'000);
  EXPECT_EQ(
      stable(answer->json()),
      R"({"id":"cmpl-r1","object":"text_completion","model":"org/nano","system_fingerprint":"octet-cpu","seed":7,)"
      R"("choices":[{"index":0,"text":" world","logprobs":null,"finish_reason":"stop",)"
      R"("stop_reason":"<extra_id_1>"}],"usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8,)"
      R"("prompt_tokens_details":{"cached_tokens":2}}})");
  EXPECT_EQ(count("openai", "ok"), 1);
}

TEST_F(CompletionsTest, PassesEveryParameterOn) {
  complete(R"({"prompt": "Hi", "max_tokens": 9, "temperature": 0.5, "top_p": 0.25, "n": 3, "stop": ["a", "b"],
               "seed": 18446744073709551615, "logprobs": 2, "logit_bias": {"5": -100, "6": 1.5},
               "presence_penalty": 1, "frequency_penalty": -1, "user": "u", "top_k": 4, "min_p": 0.125,
               "repetition_penalty": 1.5, "min_tokens": 2, "ignore_eos": true, "stop_token_ids": [9],
               "bad_words": ["no"], "timeout": 2, "priority": -3, "include_stop_str_in_output": true, "prompt_logprobs": 1,
               "best_of": 3, "suffix": null, "stream": false, "stream_options": null, "echo": false})");
  ASSERT_EQ(num_started(), 1U);
  const ValidatedRequest& started = request(0);
  EXPECT_EQ(started.prompt, tokenizer->encode("Hi"));
  EXPECT_EQ(started.max_tokens, 9U);
  EXPECT_EQ(started.sampling.temperature, 0.5F);
  EXPECT_EQ(started.sampling.top_p, 0.25F);
  EXPECT_EQ(started.sampling.top_k, 4U);
  EXPECT_EQ(started.sampling.min_p, 0.125F);
  EXPECT_EQ(started.sampling.repetition_penalty, 1.5F);
  EXPECT_EQ(started.sampling.repetition_rule, RepetitionRule::kDivideOrMultiply);
  EXPECT_EQ(started.sampling.presence_penalty, 1.0F);
  EXPECT_EQ(started.sampling.frequency_penalty, -1.0F);
  EXPECT_THAT(started.sampling.logit_bias, ElementsAre(std::pair(5U, -100.0F), std::pair(6U, 1.5F)));
  EXPECT_FALSE(started.sampling.bad_words.empty());
  EXPECT_EQ(started.sampling.seed, UINT64_MAX);
  EXPECT_EQ(started.num_choices, 3U);
  EXPECT_THAT(started.stop, ElementsAre("a", "b"));
  EXPECT_THAT(started.stop_token_ids, ElementsAre(9U));
  EXPECT_TRUE(started.include_stop);
  EXPECT_EQ(started.min_tokens, 2U);
  EXPECT_EQ(started.logprobs, 2U);
  EXPECT_EQ(started.prompt_logprobs, 1U);
  EXPECT_LT(started.deadline, now() + std::chrono::seconds(3));
  EXPECT_EQ(started.priority, -3);
  EXPECT_EQ(started.session, "u");
}

TEST_F(CompletionsTest, GeneratesSixteenTokensByDefault) {
  complete(R"({"prompt": "Hi"})");
  EXPECT_EQ(request(0).max_tokens, 16U);
  model.max_model_len = 10;  // or as many as the context still holds
  complete(R"({"prompt": [7, 8, 9]})");
  EXPECT_EQ(request(1).max_tokens, 7U);
  complete(R"({"prompt": [7, 8, 9], "max_tokens": 8})");
  EXPECT_EQ(num_started(), 2U);
}

TEST_F(CompletionsTest, RunsEveryPromptWithEveryChoice) {
  const auto answer = complete(R"({"prompt": ["a", "b"], "n": 2, "seed": 10})");
  ASSERT_EQ(num_started(), 2U);
  EXPECT_EQ(request(0).sampling.seed, 10U);
  EXPECT_EQ(request(1).sampling.seed, 11U);  // equal prompts would repeat each other otherwise
  EXPECT_EQ(request(0).request_id, request(1).request_id);
  say(1, 1, "d", FinishReason::kLength);
  say(0, 0, "a", FinishReason::kStop);
  say(1, 0, "c", FinishReason::kStop);
  done(1, {.prompt_tokens = 1, .completion_tokens = 2, .cached_tokens = 0});
  say(0, 1, "b", FinishReason::kStop);
  done(0, {.prompt_tokens = 10, .completion_tokens = 20, .cached_tokens = 5});
  const json::object object = answer->json();
  std::string texts;
  for (const auto& choice : object.at("choices").as_array()) {
    EXPECT_EQ(choice.at("index").as_int64(), static_cast<int64_t>(texts.size()));
    texts += choice.at("text").as_string();
  }
  EXPECT_EQ(texts, "abcd");
  EXPECT_EQ(object.at("choices").at(3).at("finish_reason"), "length");
  EXPECT_EQ(
      json_text(object.at("usage")),
      R"({"prompt_tokens":11,"completion_tokens":22,"total_tokens":33,"prompt_tokens_details":{"cached_tokens":5}})");
}

TEST_F(CompletionsTest, TakesTokenPrompts) {
  complete(R"({"prompt": [7, 8, 9]})");
  EXPECT_THAT(request(0).prompt, ElementsAre(7U, 8U, 9U));
  complete(R"({"prompt": [[7], [8, 9]]})");
  EXPECT_THAT(request(1).prompt, ElementsAre(7U));
  EXPECT_THAT(request(2).prompt, ElementsAre(8U, 9U));
}

TEST_F(CompletionsTest, KeepsToTheLimitOfChoices) {
  std::string prompts = "\"a\"";
  for (int i = 1; i < 128; ++i) prompts += ", \"a\"";
  complete("{\"prompt\": [" + prompts + "]}");
  EXPECT_EQ(num_started(), 128U);
  const auto one_more = complete("{\"prompt\": [" + prompts + ", \"a\"]}");
  EXPECT_EQ(one_more->status, 400);
  EXPECT_THAT(one_more->body, HasSubstr("at most 128 choices"));
  EXPECT_EQ(complete(R"({"prompt": ["a", "b"], "n": 65})")->json().at("error").at("param"), "n");
  EXPECT_EQ(complete(R"({"prompt": ["a", "b"], "n": 9223372036854775807})")->status, 400);
  EXPECT_EQ(complete(R"({"prompt": ["a", "b"], "n": 0})")->status, 400);
  EXPECT_EQ(num_started(), 128U);
}

TEST_F(CompletionsTest, ReturnsLogprobs) {
  const auto answer = complete(R"({"prompt": "a", "logprobs": 2})");
  Piece said = piece(0, 0, "\xC3\xA9", FinishReason::kStop);  // two byte tokens
  ASSERT_EQ(said.tokens.size(), 2U);
  said.logprobs[0].top = {{22, -0.5F}, {said.tokens[0], -1.0F}};
  said.logprobs[1].top = {{22, -0.5F}, {23, -0.75F}};
  said.logprobs[1].logprob = -INFINITY;
  say(0, said);
  say(0, 0, "");
  done(0);
  EXPECT_EQ(
      json_text(answer->json().at("choices").at(0).at("logprobs")),
      R"({"tokens":["bytes:\\xc3","bytes:\\xa9"],"token_logprobs":[-1.0,-9999.0],)"
      R"("top_logprobs":[{"\n":-0.5,"bytes:\\xc3":-1.0},{"\n":-0.5,"\u000b":-0.75,"bytes:\\xa9":-9999.0}],)"
      R"("text_offset":[0,1]})");
}

TEST_F(CompletionsTest, LeavesOutAlternativesThatNobodyAskedFor) {
  const auto answer = complete(R"({"prompt": "a", "logprobs": 0})");
  say(0, 0, "b", FinishReason::kStop);
  done(0);
  const json::value logprobs = answer->json().at("choices").at(0).at("logprobs");
  EXPECT_EQ(logprobs.at("top_logprobs"), nullptr);
  EXPECT_EQ(logprobs.at("token_logprobs").as_array().size(), logprobs.at("tokens").as_array().size());
}

TEST_F(CompletionsTest, EchoesThePromptWithItsLogprobs) {
  const auto answer = complete(R"({"prompt": "Hello <extra_id_1>", "logprobs": 1, "echo": true})");
  ASSERT_EQ(request(0).prompt_logprobs, 1U);
  const std::vector<TokenId>& prompt = request(0).prompt;
  std::vector<TokenLogprob> scores;
  for (size_t i = 1; i < prompt.size(); ++i)
    scores.push_back({.token = prompt[i], .logprob = -2, .top = {{22, -1}}});
  sink(0).on_prompt_logprobs(scores);
  say(0, 0, "x", FinishReason::kStop);
  done(0);
  const json::value choice = answer->json().at("choices").at(0);
  EXPECT_EQ(choice.at("text"), "Hello <extra_id_1>x");
  const json::value& logprobs = choice.at("logprobs");
  EXPECT_EQ(logprobs.at("tokens").as_array().size(), prompt.size() + 1);
  EXPECT_EQ(logprobs.at("token_logprobs").at(0), nullptr);
  EXPECT_EQ(logprobs.at("top_logprobs").at(0), nullptr);
  EXPECT_EQ(logprobs.at("token_logprobs").at(1), -2.0);
  EXPECT_EQ(logprobs.at("tokens").at(prompt.size()), "x");
  EXPECT_EQ(logprobs.at("text_offset").at(0), 0);
  // The offsets point into the text.
  EXPECT_EQ(logprobs.at("text_offset").at(prompt.size()).to_number<size_t>(),
            std::string("Hello <extra_id_1>").size());
}

TEST_F(CompletionsTest, EchoesTokenPromptsAsText) {
  const std::vector<TokenId> ids = tokenizer->encode("Hello you");
  json::array prompt(ids.begin(), ids.end());
  const auto answer = complete(json_text(json::object{{"prompt", prompt}, {"echo", true}}));
  say(0, 0, "!", FinishReason::kStop);
  done(0);
  EXPECT_EQ(answer->json().at("choices").at(0).at("text"), "Hello you!");
}

TEST_F(CompletionsTest, ReturnsPromptLogprobs) {
  const auto answer = complete(R"({"prompt": [7, 22], "prompt_logprobs": 1})");
  sink(0).on_prompt_logprobs({{.token = 22, .logprob = -2, .top = {{23, -1}}}});
  say(0, 0, "x", FinishReason::kStop);
  done(0);
  EXPECT_EQ(
      json_text(answer->json().at("choices").at(0).at("prompt_logprobs")),
      R"([null,{"23":{"logprob":-1.0,"decoded_token":"\u000b"},"22":{"logprob":-2.0,"decoded_token":"\n"}}])");
}

TEST_F(CompletionsTest, StreamsEvents) {
  const auto answer =
      complete(R"({"prompt": "a", "stream": true, "stream_options": {"include_usage": true}, "seed": 1,
                   "request_id": "r"})");
  EXPECT_EQ(answer->status, 0);
  say(0, 0, "b");
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->content_type, "text/event-stream; charset=utf-8");
  EXPECT_EQ(answer->header("Cache-Control"), "no-cache");
  EXPECT_EQ(answer->header("x-request-id"), "r");
  EXPECT_EQ(answer->events().size(), 1U);  // at once
  Piece incomplete = piece(0, 0, "");
  incomplete.tokens = {200};
  say(0, incomplete);  // no text yet, and nobody asked for the token
  say(0, 0, "c", FinishReason::kLength);
  done(0, {.prompt_tokens = 1, .completion_tokens = 2, .cached_tokens = 0});
  EXPECT_TRUE(answer->ended);
  const auto chunks = answer->chunks();
  ASSERT_EQ(chunks.size(), 3U);
  EXPECT_EQ(
      stable(chunks[0]),
      R"({"id":"cmpl-r","object":"text_completion","model":"org/nano","system_fingerprint":"octet-cpu","seed":1,)"
      R"("choices":[{"index":0,"text":"b","logprobs":null,"finish_reason":null,"stop_reason":null}],"usage":null})");
  EXPECT_EQ(chunks[1].at("choices").at(0).at("finish_reason"), "length");
  EXPECT_TRUE(chunks[2].at("choices").as_array().empty());
  EXPECT_EQ(chunks[2].at("usage").at("total_tokens"), 3);
  EXPECT_EQ(answer->events().back(), "[DONE]");
}

TEST_F(CompletionsTest, StreamsWithoutUsageUnlessAsked) {
  const auto answer = complete(R"({"prompt": "a", "stream": true})");
  say(0, 0, "b", FinishReason::kStop);
  done(0);
  const auto chunks = answer->chunks();
  ASSERT_EQ(chunks.size(), 1U);
  EXPECT_FALSE(chunks[0].contains("usage"));
}

TEST_F(CompletionsTest, StreamsLogprobsWithRunningOffsetsAndTheEchoOnce) {
  const auto answer = complete(R"({"prompt": ["ab", "c"], "stream": true, "echo": true, "logprobs": 0})");
  sink(1).on_prompt_logprobs({});
  say(1, 0, "x");
  say(1, 0, "y", FinishReason::kStop);
  const auto chunks = answer->chunks();
  ASSERT_EQ(chunks.size(), 2U);
  const json::value first = chunks[0].at("choices").at(0);
  EXPECT_EQ(first.at("index"), 1);
  EXPECT_EQ(first.at("text"), "cx");
  EXPECT_EQ(json_text(first.at("logprobs").at("text_offset")), "[0,1]");
  const json::value second = chunks[1].at("choices").at(0);
  EXPECT_EQ(second.at("text"), "y");
  EXPECT_EQ(json_text(second.at("logprobs").at("text_offset")), "[2]");
}

TEST_F(CompletionsTest, SendsErrorsBeforeTheFirstEventAsHttp) {
  const auto answer = complete(R"({"prompt": ["a", "b"], "stream": true, "request_id": "r"})");
  fail(0, overloaded("too busy", std::chrono::seconds(3)));
  EXPECT_EQ(answer->status, 429);
  EXPECT_FALSE(answer->streamed);
  EXPECT_EQ(answer->header("Retry-After"), "3");
  EXPECT_EQ(answer->header("x-request-id"), "r");
  EXPECT_EQ(answer->json().at("error").at("type"), "rate_limit_error");
  EXPECT_TRUE(generator.started[1].cancelled);
  EXPECT_EQ(count("openai", "overloaded"), 1);
}

TEST_F(CompletionsTest, EndsAStreamWithItsError) {
  const auto answer = complete(R"({"prompt": "a", "stream": true})");
  say(0, 0, "b");
  fail(0, absl::InternalError("the pipeline broke"));
  EXPECT_TRUE(answer->ended);
  ASSERT_EQ(answer->events().size(), 2U);
  EXPECT_EQ(json::parse(answer->events()[1]).at("error").at("message"), "the pipeline broke");
  EXPECT_EQ(count("openai", "internal"), 1);
}

TEST_F(CompletionsTest, TellsThatTheDeadlinePassed) {
  const auto answer = complete(R"({"prompt": "a"})");
  say(0, 0, "b", FinishReason::kDeadline);
  done(0);
  EXPECT_EQ(answer->json().at("choices").at(0).at("finish_reason"), "length");
  EXPECT_EQ(answer->json().at("choices").at(0).at("stop_reason"), "deadline");
}

TEST_F(CompletionsTest, CancelsWhenTheClientGoesAway) {
  const auto answer = complete(R"({"prompt": ["a", "b"], "stream": true})");
  const auto sink_of_a = generator.started[0].sink;
  answer->hang_up();
  EXPECT_TRUE(generator.started[0].cancelled);
  EXPECT_TRUE(generator.started[1].cancelled);
  EXPECT_EQ(count("openai", "cancelled"), 1);
  sink_of_a->on_piece({});  // a late word is not heard
  EXPECT_EQ(answer->status, 0);
}

TEST_F(CompletionsTest, LetsGoOfEverythingAtTheEnd) {
  std::weak_ptr<HttpResponder> responder;
  {
    const auto answer = complete(R"({"prompt": "a"})");
    responder = answer;
    say(0, 0, "b", FinishReason::kStop);
    done(0);
  }
  EXPECT_TRUE(responder.expired());
}

TEST_F(CompletionsTest, TakesTheConnectionsRequestIdUnlessTheBodyHasOne) {
  complete(R"({"prompt": "a"})");
  EXPECT_EQ(request(0).request_id, "from-connection");
  complete(R"({"prompt": "a", "request_id": "from-body"})");
  EXPECT_EQ(request(1).request_id, "from-body");
}

TEST_F(CompletionsTest, CountsNegativeSeedsFromTheEnd) {
  complete(R"({"prompt": "a", "seed": -1})");
  EXPECT_EQ(request(0).sampling.seed, UINT64_MAX);
}

TEST_F(CompletionsTest, ReturnsTheLikeliestOfBestOf) {
  const auto answer = complete(R"({"prompt": ["a", "b"], "n": 2, "best_of": 3})");
  ASSERT_EQ(num_started(), 2U);
  EXPECT_EQ(request(0).num_choices, 3U);
  for (size_t prompt = 0; prompt < 2; ++prompt) {
    for (uint32_t index = 0; index < 3; ++index) {
      Piece said = piece(prompt, index, std::string(1 + index, 'x'), FinishReason::kLength);
      // A long choice is not worse for being long: index 1 is the likeliest a token, then index 2.
      for (TokenLogprob& token : said.logprobs)
        token.logprob = index == 0 ? -3.0F : index == 1 ? -1.0F : -2.0F;
      say(prompt, said);
    }
    done(prompt, {.prompt_tokens = 1, .completion_tokens = 3, .cached_tokens = 0});
  }
  const json::array choices = answer->json().at("choices").as_array();
  ASSERT_EQ(choices.size(), 4U);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(choices[i].at("index"), i);
    EXPECT_EQ(choices[i].at("text"), i % 2 == 0 ? "xx" : "xxx");
    EXPECT_TRUE(choices[i].at("logprobs").is_null());  // needed for the choice, not asked for
  }
  EXPECT_EQ(answer->json().at("usage").at("completion_tokens"), 6);  // of all that was generated
}

TEST_F(CompletionsTest, EchoesPromptLogprobsOnlyWhenAskedFor) {
  complete(R"({"prompt": "ab", "n": 1, "best_of": 2, "echo": true})");
  EXPECT_EQ(request(0).logprobs, 0U);
  EXPECT_EQ(request(0).prompt_logprobs, std::nullopt);
}

TEST_F(CompletionsTest, RefusesEveryBadFieldByName) {
  struct Case {
    const char* member;
    const char* param;
  };
  for (const auto& [member, param] : std::vector<Case>{
           {R"("model": 1)", "model"},
           {R"("prompt": 1)", "prompt"},
           {R"("prompt": null)", "prompt"},
           {R"("prompt": [])", "prompt"},
           {R"("prompt": "")", "prompt"},
           {R"("prompt": [[]])", "prompt"},
           {R"("prompt": ["a", 1])", "prompt[1]"},
           {R"("prompt": ["a", ["b"]])", "prompt[1]"},
           {R"("prompt": [1, "a"])", "prompt[1]"},
           {R"("prompt": [[1], "a"])", "prompt[1]"},
           {R"("prompt": [[1], ["a"]])", "prompt[1][0]"},
           {R"("prompt": [1.5])", "prompt[0]"},
           {R"("prompt": [true])", "prompt[0]"},
           {R"("prompt": [{}])", "prompt[0]"},
           {R"("prompt": [1600])", "prompt"},
           {R"("prompt": [-1])", "prompt"},
           {R"("max_tokens": 0)", "max_tokens"},
           {R"("max_tokens": -1)", "max_tokens"},
           {R"("max_tokens": 1.0)", "max_tokens"},
           {R"("max_tokens": 100000)", "max_tokens"},
           {R"("temperature": "1")", "temperature"},
           {R"("temperature": -0.1)", "temperature"},
           {R"("temperature": 1e300)", "temperature"},
           {R"("top_p": 0)", "top_p"},
           {R"("top_p": 1.1)", "top_p"},
           {R"("top_k": -1)", "top_k"},
           {R"("top_k": 1.5)", "top_k"},
           {R"("min_p": 2)", "min_p"},
           {R"("repetition_penalty": 0)", "repetition_penalty"},
           {R"("presence_penalty": 3)", "presence_penalty"},
           {R"("frequency_penalty": -3)", "frequency_penalty"},
           {R"("logit_bias": [])", "logit_bias"},
           {R"("logit_bias": {"a": 1})", "logit_bias"},
           {R"("logit_bias": {"5": 101})", "logit_bias"},
           {R"("seed": 1.5)", "seed"},
           {R"("n": 129)", "n"},
           {R"("n": "1")", "n"},
           {R"("stop": 1)", "stop"},
           {R"("stop": [1])", "stop[0]"},
           {R"("stop": "")", "stop"},
           {R"("logprobs": 21)", "logprobs"},
           {R"("logprobs": true)", "logprobs"},
           {R"("prompt_logprobs": 21)", "prompt_logprobs"},
           {R"("echo": 1)", "echo"},
           {R"("priority": 101)", "priority"},
           {R"("priority": 0.5)", "priority"},
           {R"("user": 7)", "user"},
           {R"("stream": "yes")", "stream"},
           {R"("stream_options": {})", "stream_options"},
           {R"("stream": true, "stream_options": {"foo": 1})", "stream_options.foo"},
           {R"("stream": true, "stream_options": {"include_usage": 1})", "stream_options.include_usage"},
           {R"("user": 1)", "user"},
           {R"("min_tokens": -1)", "min_tokens"},
           {R"("min_tokens": 1000)", "min_tokens"},
           {R"("ignore_eos": 1)", "ignore_eos"},
           {R"("stop_token_ids": ["a"])", "stop_token_ids[0]"},
           {R"("stop_token_ids": [1600])", "stop_token_ids"},
           {R"("bad_words": "a")", "bad_words"},
           {R"("timeout": 0)", "timeout"},
           {R"("timeout": 1e9)", "timeout"},
           {R"("request_id": "a\nb")", "request_id"},
           {R"("best_of": 1, "n": 2)", "best_of"},
           {R"("best_of": 2, "stream": true)", "best_of"},
           {R"("best_of": 129)", "best_of"},
           {R"("suffix": "x")", "suffix"},
           {R"("tools": [])", "tools"},
           {R"("foo": 1)", "foo"},
       }) {
    const std::string prompt = std::string(member).find("\"prompt\"") == 0 ? "" : R"("prompt": "Hi", )";
    const auto answer = complete("{" + prompt + member + "}");
    ASSERT_EQ(answer->status, 400) << member << " " << answer->body;
    EXPECT_EQ(answer->json().at("error").at("param"), param) << answer->body;
    EXPECT_EQ(answer->json().at("error").at("type"), "invalid_request_error");
    // The message begins with the name too, or quotes it.
    EXPECT_THAT(answer->body, HasSubstr(param));
  }
  EXPECT_EQ(num_started(), 0U);
  EXPECT_THAT(complete(R"({"prompt": "a", "foo": 1})")->body, HasSubstr("unknown field 'foo'"));
}

TEST_F(CompletionsTest, RefusesBrokenBodies) {
  for (const char* body : {"", "{", "[]", "\"a\"", "{\"prompt\": NaN}", "{\"prompt\": \"\xFF\"}"}) {
    const auto answer = complete(body);
    EXPECT_EQ(answer->status, 400) << body;
    EXPECT_EQ(answer->json().at("error").at("param"), nullptr);
  }
  EXPECT_EQ(count("openai", "invalid"), 6);
}

TEST_F(CompletionsTest, RefusesOtherModels) {
  const auto answer = complete(R"({"model": "gpt-4", "prompt": "a"})");
  EXPECT_EQ(answer->status, 404);
  EXPECT_EQ(answer->json().at("error").at("code"), "model_not_found");
}

TEST_F(CompletionsTest, IsUnavailableWithoutAPipeline) {
  context->validation = nullptr;
  const auto answer = complete(R"({"prompt": "a"})");
  EXPECT_EQ(answer->status, 503);
  EXPECT_EQ(answer->header("Retry-After"), "1");
}

}  // namespace
}  // namespace octet::router
