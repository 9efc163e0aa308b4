#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <string>

#include "base/status.h"
#include "router/api/json_text.h"
#include "router/api/nemo_request.h"
#include "tests/router/api/api_fixture.h"

namespace octet::router {
namespace {

namespace json = boost::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class NemoTest : public ApiTest {
 protected:
  std::shared_ptr<FakeResponder> put(const std::string& body, const std::string& type = "application/json") {
    return call("PUT", "/generate", body, {{"content-type", type}, {"x-request-id", "r"}});
  }
  // A request for these sentences, "..." written as JSON, with further members.
  std::shared_ptr<FakeResponder> generate(const std::string& sentences, const std::string& members = "") {
    return put("{\"sentences\": [" + sentences + "]" + (members.empty() ? "" : ", " + members) + "}");
  }
  // New tokens of a sentence, as the pipeline sends them: one a piece.
  void say_tokens(size_t prompt, const std::vector<TokenId>& tokens) {
    for (const TokenId token : tokens) {
      if (generator.started[prompt].sink == nullptr) return;
      Piece piece;
      piece.text = tokenizer->bytes(token);
      piece.tokens = {token};
      if (request(prompt).logprobs) piece.logprobs = {{.token = token, .logprob = -0.5F, .top = {}}};
      say(prompt, piece);
    }
  }
  void end(size_t prompt, FinishReason reason) {
    Piece last;
    last.finish = reason;
    say(prompt, last);
    done(prompt);
  }
  TokenId id(const std::string& piece) { return *tokenizer->piece_id(piece); }
};

TEST_F(NemoTest, AnswersAsNemoDoes) {
  const auto answer = generate(R"("Hi <extra_id_1>\u00e9")", R"("random_seed": 5)");
  ASSERT_EQ(num_started(), 1U);
  say_tokens(0, {id("\xE2\x96\x81you"), tokenizer->eos_id()});
  end(0, FinishReason::kStop);
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->content_type, "application/json");
  EXPECT_EQ(answer->header("x-request-id"), "from-connection");
  EXPECT_EQ(answer->header("x-octet-seed"), "5");
  const std::vector<TokenId> prompt = tokenizer->encode("Hi <extra_id_1>\xC3\xA9");
  std::string ids, pieces, offsets;
  size_t offset = 0;
  for (const TokenId token : prompt) {
    ids += std::to_string(token) + ",";
    append_json_string(pieces, tokenizer->piece(token), JsonStyle::kSortedAscii);
    pieces += ",";
    offsets += std::to_string(offset) + ",";
    const std::string_view piece = tokenizer->piece(token);
    offset += static_cast<size_t>(std::count_if(
        piece.begin(), piece.end(), [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; }));
  }
  // Compact, keys sorted, ASCII, a line break at the end; the end of sequence has no text and its piece no
  // length.
  EXPECT_EQ(answer->body, "{\"logprob\":null,\"offsets\":[[" + offsets + std::to_string(offset) + "," +
                              std::to_string(offset + 4) +
                              "]],\"sentences\":[\"Hi <extra_id_1>\\u00e9 you\"],\"token_ids\":[[" + ids +
                              std::to_string(id("\xE2\x96\x81you")) + ",3]],\"tokens\":[[" + pieces +
                              "\"\\u2581you\",\"</s>\"]]}\n");
  EXPECT_EQ(count("nemo", "ok"), 1);
}

// What the model card's client does with the answer.
TEST_F(NemoTest, ServesTheModelCardsClient) {
  const std::string prompt =
      "<extra_id_0>System\n\n<extra_id_1>User\nWrite a poem on NVIDIA in the style of "
      "Shakespeare\n<extra_id_1>Assistant\n";
  json::object body{
      {"sentences", json::array{prompt}},
      {"tokens_to_generate", 100},
      {"temperature", 1.0},
      {"add_BOS", false},
      {"top_k", 0},
      {"top_p", 1.0},
      {"greedy", true},
      {"all_probs", false},
      {"repetition_penalty", 1.0},
      {"min_tokens_to_generate", 1},
      {"end_strings", json::array{"<|endoftext|>", "<extra_id_1>", "\x11", "<extra_id_1>User"}}};
  const auto answer = put(json_text(body));
  ASSERT_EQ(num_started(), 1U) << answer->body;
  EXPECT_EQ(request(0).sampling.temperature, 0);
  EXPECT_EQ(request(0).prompt, tokenizer->encode(prompt));
  EXPECT_EQ(request(0).max_tokens, 100U);
  EXPECT_EQ(request(0).min_tokens, 1U);
  EXPECT_THAT(*request(0).suppressed_before_min_tokens, ElementsAre(tokenizer->eos_id()));
  EXPECT_THAT(request(0).stop_token_ids, ElementsAre(3U, 5U, id("<0x11>")));
  EXPECT_TRUE(request(0).include_stop);
  EXPECT_THAT(request(0).stop, IsEmpty());
  say(0, 0, "In silicon");
  say_tokens(0, {id("<extra_id_1>")});
  end(0, FinishReason::kStop);
  const std::string text(answer->json().at("sentences").at(0).as_string());
  ASSERT_TRUE(text.starts_with(prompt));
  EXPECT_EQ(text.substr(prompt.size()), "In silicon<extra_id_1>");
}

TEST_F(NemoTest, UsesNemosDefaults) {
  generate("\"Hi\"");
  const ValidatedRequest& started = request(0);
  EXPECT_EQ(started.max_tokens, 64U);
  EXPECT_EQ(started.sampling.temperature, 1.0F);
  EXPECT_EQ(started.sampling.top_k, 0U);
  EXPECT_EQ(started.sampling.top_p, 0.9F);
  EXPECT_EQ(started.sampling.repetition_penalty, 1.0F);  // 1.2, which does nothing without compute_logprob
  EXPECT_EQ(started.min_tokens, 0U);
  EXPECT_EQ(started.logprobs, std::nullopt);
  EXPECT_THAT(started.stop_token_ids,
              ElementsAre(tokenizer->eos_id()));  // the end of a turn is text like any other
}

TEST_F(NemoTest, PenalisesRepetitionOnlyWithLogprobs) {
  generate("\"Hi\"", R"("compute_logprob": true, "repetition_penalty": 1.5)");
  EXPECT_EQ(request(0).sampling.repetition_penalty, 1.5F);
  EXPECT_EQ(request(0).sampling.repetition_rule, RepetitionRule::kDivide);
  generate("\"Hi\"", R"("compute_logprob": true)");
  EXPECT_EQ(request(1).sampling.repetition_penalty, 1.2F);
  generate("\"Hi\"", R"("repetition_penalty": 1.5)");
  EXPECT_EQ(request(2).sampling.repetition_penalty, 1.0F);
  generate("\"Hi\"", R"("compute_logprob": true, "repetition_penalty": 1.5, "greedy": true)");
  EXPECT_EQ(request(3).sampling.repetition_penalty, 1.0F);
}

TEST_F(NemoTest, GreedyIgnoresEveryFilter) {
  generate("\"Hi\"", R"("greedy": true, "temperature": 5, "top_k": 3, "top_p": 0.1)");
  EXPECT_EQ(request(0).sampling.temperature, 0);
  EXPECT_EQ(request(0).sampling.top_k, 0U);
  EXPECT_EQ(request(0).sampling.top_p, 1.0F);
}

TEST_F(NemoTest, TakesWhatPythonTakes) {
  const auto answer =
      generate("\"Hi\"", R"("tokens_to_generate": true, "temperature": 100, "top_k": 5.0, "top_p": 0,
                             "random_seed": null, "neighbors": 3, "min_tokens_to_generate": 1000, "end_strings": [])");
  ASSERT_EQ(num_started(), 1U) << answer->body;
  EXPECT_EQ(request(0).max_tokens, 1U);
  EXPECT_EQ(request(0).min_tokens, 1U);  // no more than can be generated
  EXPECT_EQ(request(0).sampling.top_k, 5U);
  EXPECT_EQ(request(0).sampling.top_p, 1.0F);  // 0 is off
}

TEST_F(NemoTest, PutsBosBeforeThePrompt) {
  const auto answer = generate("\"Hi\"", R"("add_BOS": true)");
  EXPECT_EQ(request(0).prompt.front(), tokenizer->bos_id());
  say_tokens(0, {id("a")});
  end(0, FinishReason::kLength);
  EXPECT_EQ(answer->json().at("sentences").at(0), "Hia");
  EXPECT_EQ(answer->json().at("tokens").at(0).at(0), "<s>");
  EXPECT_EQ(answer->json().at("offsets").at(0).at(1), 0);
}

TEST_F(NemoTest, RunsAllSentencesAtOnceAndFillsTheRows) {
  const auto answer = generate("\"a\", \"a\"", R"("random_seed": 7, "compute_logprob": true)");
  ASSERT_EQ(num_started(), 2U);
  EXPECT_EQ(request(0).sampling.seed, 7U);
  EXPECT_EQ(request(1).sampling.seed, 8U);  // equal sentences do not repeat each other
  EXPECT_EQ(request(0).prompt_logprobs, 0U);
  sink(0).on_prompt_logprobs({});
  sink(1).on_prompt_logprobs({});
  say_tokens(1, {id("b"), id("c"), id("d")});
  end(1, FinishReason::kLength);
  EXPECT_EQ(answer->status, 0);
  say_tokens(0, {id("b")});
  end(0, FinishReason::kStop);
  const json::object object = answer->json();
  const std::string a = std::to_string(request(0).prompt.back());
  const auto num = [&](const std::string& piece) { return std::to_string(id(piece)); };
  EXPECT_EQ(json_text(object.at("sentences")), R"(["ab","abcd"])");
  EXPECT_EQ(json_text(object.at("token_ids")), "[[" + a + "," + num("b") + ",3,3],[" + a + "," + num("b") +
                                                   "," + num("c") + "," + num("d") + "]]");
  EXPECT_EQ(object.at("tokens").at(0).at(3), "</s>");
  EXPECT_EQ(json_text(object.at("logprob")), "[[-0.5,0.0,0.0],[-0.5,-0.5,-0.5]]");
  EXPECT_EQ(json_text(object.at("offsets").at(0)), "[0,1,2,2]");
}

TEST_F(NemoTest, ReturnsLogprobsOfPromptAndOutput) {
  const auto answer = generate("\"Hello, who are you?\"", R"("compute_logprob": true)");
  const size_t num_prompt = request(0).prompt.size();
  ASSERT_GT(num_prompt, 1U);
  std::vector<TokenLogprob> scores(num_prompt - 1, TokenLogprob{.token = 7, .logprob = -0.25F, .top = {}});
  sink(0).on_prompt_logprobs(scores);
  say_tokens(0, {id("a")});
  end(0, FinishReason::kStop);
  const json::value row = answer->json().at("logprob").at(0);
  ASSERT_EQ(row.as_array().size(), num_prompt);  // of every token after the first
  EXPECT_EQ(row.at(0), -0.25);
  EXPECT_EQ(row.at(num_prompt - 1), -0.5);
}

TEST_F(NemoTest, ResolvesEndStrings) {
  const NemoEnd end =
      resolve_end_strings({"<|endoftext|>", "<extra_id_1>", "\x11", "<extra_id_1>User", "a"}, *tokenizer);
  EXPECT_THAT(end.tokens, ElementsAre(tokenizer->eos_id(), id("<extra_id_1>"), id("<0x11>"), id("a")));
  EXPECT_THAT(end.texts, ElementsAre("<extra_id_1>User"));
  EXPECT_THAT(resolve_end_strings({}, *tokenizer).tokens, ElementsAre(tokenizer->eos_id()));
}

// NeMo looks at the end of the text after each token: over tokens, into the prompt, and never inside a token.
TEST_F(NemoTest, EndsOnTextAtATokensEnd) {
  const auto answer = generate("\"xy\"", R"("end_strings": ["yab"])");
  say_tokens(0, {id("a"), id("b"), id("c")});
  EXPECT_TRUE(generator.started[0].cancelled);
  EXPECT_EQ(answer->json().at("sentences").at(0), "xyab");

  const TokenId you = id("\xE2\x96\x81you");  // " you"
  const auto inside = generate("\"x\"", R"("end_strings": [" yo", "u!"])");
  say_tokens(1, {you});
  EXPECT_FALSE(generator.started[1].cancelled);
  say_tokens(1, {id("!")});
  EXPECT_TRUE(generator.started[1].cancelled);
  EXPECT_EQ(inside->json().at("sentences").at(0), "x you!");
}

// Several tokens may come at once; those behind the end are not part of the answer.
TEST_F(NemoTest, CutsAfterTheEndWithinAPiece) {
  const auto answer = generate("\"x\", \"y\"", R"("end_strings": ["zq"], "compute_logprob": true)");
  sink(0).on_prompt_logprobs({});
  sink(1).on_prompt_logprobs({});
  Piece piece;
  piece.tokens = {id("z"), id("q"), id("c")};
  piece.text = "zqc";
  piece.logprobs.resize(3);
  say(0, piece);
  EXPECT_TRUE(generator.started[0].cancelled);
  say_tokens(1, {id("z")});
  end(1, FinishReason::kLength);
  EXPECT_EQ(json_text(answer->json().at("sentences")), R"(["xzq","yz"])");
  EXPECT_EQ(answer->json().at("logprob").at(0).as_array().size(), 2U);
}

TEST_F(NemoTest, WritesCharactersThatSpanTokensWhole) {
  const auto answer = generate("\"x\"");
  say_tokens(0, {id("<0xF0>"), id("<0x9F>"), id("<0x99>"), id("<0x82>")});
  end(0, FinishReason::kLength);
  EXPECT_THAT(answer->body, HasSubstr(R"("sentences":["x\ud83d\ude42"])"));
  EXPECT_THAT(answer->body, HasSubstr(R"("<0xF0>","<0x9F>")"));
}

struct Refusal {
  const char* members;
  const char* text;
};

TEST_F(NemoTest, RefusesWithNemosTexts) {
  for (const auto& [members, text] : std::vector<Refusal>{
           {R"("tokens_to_generate": 0)", "tokens_to_generate must be an integer greater than 0"},
           {R"("tokens_to_generate": -1)", "tokens_to_generate must be an integer greater than 0"},
           {R"("tokens_to_generate": 1.0)", "tokens_to_generate must be an integer greater than 0"},
           {R"("tokens_to_generate": false)", "tokens_to_generate must be an integer greater than 0"},
           {R"("tokens_to_generate": null)", "tokens_to_generate must be an integer greater than 0"},
           {R"("tokens_to_generate": "5")", "tokens_to_generate must be an integer greater than 0"},
           {R"("all_probs": 1)", "all_probs must be a boolean value"},
           {R"("temperature": 0)", "temperature must be a positive number less than or equal to 100.0"},
           {R"("temperature": 100.1)", "temperature must be a positive number less than or equal to 100.0"},
           {R"("temperature": true)", "temperature must be a positive number less than or equal to 100.0"},
           {R"("temperature": null)", "temperature must be a positive number less than or equal to 100.0"},
           {R"("add_BOS": "no")", "add_BOS must be a boolean value"},
           {R"("greedy": 0)", "greedy must be a boolean value"},
           {R"("top_k": -1)", "top_k must be a positive integer number"},
           {R"("top_k": 1.5)", "top_k must be a positive integer number"},
           {R"("top_k": true)", "top_k must be a positive integer number"},
           {R"("top_p": 1.1)", "top_p must be a positive number less than or equal to 1.0"},
           {R"("top_p": -0.1)", "top_p must be a positive number less than or equal to 1.0"},
           {R"("repetition_penalty": 0.9)", "repetition_penalty must be a positive number no less than 1.0"},
           {R"("end_strings": "a")", "expect end_strings to be a list of strings"},
           {R"("end_strings": ["a", 1])", "expect end_strings to be a list of strings"},
           {R"("end_strings": null)", "expect end_strings to be a list of strings"},
           {R"("min_tokens_to_generate": -1)", "min_tokens_to_generate must be an integer no less than 0"},
           {R"("neighbors": -1)", "num of neighbors must be an integer no less than 0"},
           {R"("compute_logprob": 1)", "compute_logprob must be a boolean value"},
           {R"("random_seed": -1)", "random_seed must be a positive integer number or None"},
           {R"("random_seed": 1.5)", "random_seed must be a positive integer number or None"},
           {R"("task_ids": null)",
            "Input at 'sentences' must by a tuple of two tensors like:                    "
            "(context_tokens_tensor, "
            "context_length_tensor) if task ids are given"},
           // Not NeMo's.
           {R"("all_probs": true)",
            "all_probs must be false: the full distribution of every token is not returned"},
           {R"("compute_attention_mask": true)", "unknown key 'compute_attention_mask'"},
           // The first in NeMo's order is told.
           {R"("random_seed": -1, "greedy": 0)", "greedy must be a boolean value"},
           {R"("greedy": 0, "foo": 1)", "unknown key 'foo'"},
       }) {
    const auto answer = generate("\"Hi\"", members);
    EXPECT_EQ(answer->status, 400) << members;
    EXPECT_EQ(answer->content_type, "application/json");
    EXPECT_EQ(answer->body, "\"" + std::string(text) + "\"\n") << members;
  }
  EXPECT_EQ(num_started(), 0U);
}

TEST_F(NemoTest, RefusesBadSentences) {
  for (const auto& [body, text] : std::vector<Refusal>{
           {R"({})", "sentences must be given"},
           {R"({"sentences": "Hi"})", "sentences must be a list of strings"},
           {R"({"sentences": ["Hi", 1]})", "sentences must be a list of strings"},
           {R"({"sentences": null})", "sentences must be a list of strings"},
           {R"({"sentences": []})", "sentences must hold at least one string"},
           {R"(["Hi"])", "the body must be a JSON object"},
           {R"({"sentences": ["Hi", ""]})", "sentences[1]: must have at least 1 token; has 0"},
       }) {
    const auto answer = put(body);
    EXPECT_EQ(answer->status, 400) << body;
    EXPECT_EQ(answer->body, "\"" + std::string(text) + "\"\n") << body;
  }
  EXPECT_EQ(num_started(), 0U);
}

TEST_F(NemoTest, TakesAtMost128Sentences) {
  std::string sentences = "\"a\"";
  for (int i = 1; i < 128; ++i) sentences += ", \"a\"";
  const auto refused = generate(sentences + ", \"a\"");
  EXPECT_EQ(refused->status, 400);
  EXPECT_EQ(refused->body, "\"Maximum number of sentences is 128\"\n");
  EXPECT_EQ(num_started(), 0U);
  generate(sentences);
  EXPECT_EQ(num_started(), 128U);
}

TEST_F(NemoTest, RefusesMoreThanTheContextHolds) {
  for (const char* tokens : {"1000", "9223372036854775807", "18446744073709551615"}) {
    const auto answer = generate("\"Hi\"", std::string("\"tokens_to_generate\": ") + tokens);
    EXPECT_EQ(answer->status, 400);
    EXPECT_THAT(answer->body, testing::StartsWith("\"tokens_to_generate: must be at most ")) << answer->body;
  }
  const auto answer = generate("\"Hi\", \"" + std::string(1000, '!') + "\"");
  EXPECT_EQ(answer->status, 400);
  EXPECT_THAT(answer->body, testing::StartsWith("\"sentences[1]: ")) << answer->body;
}

TEST_F(NemoTest, RefusesTooManyEndStrings) {
  std::string strings = "\"a\"";
  for (int i = 1; i < 33; ++i) strings += ", \"a\"";
  EXPECT_THAT(generate("\"Hi\"", "\"end_strings\": [" + strings + "]")->body,
              HasSubstr("at most 32 strings"));
  EXPECT_THAT(generate("\"Hi\"", "\"end_strings\": [\"" + std::string(257, 'a') + "\"]")->body,
              HasSubstr("at most 256 bytes"));
}

TEST_F(NemoTest, AnswersOtherBodiesAsFlaskDoes) {
  for (const char* type : {"", "text/plain", "application/x-www-form-urlencoded"}) {
    const auto answer = put(R"({"sentences": ["Hi"]})", type);
    EXPECT_EQ(answer->status, 415) << type;
    EXPECT_EQ(answer->body,
              "{\"message\": \"Did not attempt to load JSON data because the request Content-Type was not "
              "'application/json'.\"}\n");
  }
  for (const char* body : {"", "{", "NaN", "{\"sentences\": [\"\xFF\"]}", "{\"temperature\": NaN}"}) {
    const auto answer = put(body);
    EXPECT_EQ(answer->status, 400) << body;
    EXPECT_EQ(
        answer->body,
        "{\"message\": \"The browser (or proxy) sent a request that this server could not understand.\"}\n");
  }
  EXPECT_EQ(num_started(), 0U);
  EXPECT_EQ(count("nemo", "invalid"), 8);
  put(R"({"sentences": ["Hi"]})", "Application/JSON; charset=utf-8");
  put(R"({"sentences": ["Hi"]})", "application/vnd.api+json");
  EXPECT_EQ(num_started(), 2U);
}

TEST_F(NemoTest, FailsAsAWhole) {
  const auto answer = generate("\"a\", \"b\"");
  fail(1, overloaded("too busy", std::chrono::seconds(2)));
  EXPECT_EQ(answer->status, 429);
  EXPECT_EQ(answer->body, "{\"message\": \"too busy\"}\n");
  EXPECT_EQ(answer->header("Retry-After"), "2");
  EXPECT_TRUE(generator.started[0].cancelled);
}

// Half a text would look like a whole one.
TEST_F(NemoTest, DoesNotReturnATextThatTheDeadlineCut) {
  const auto answer = generate("\"a\"");
  say_tokens(0, {id("b")});
  say(0, 0, "", FinishReason::kDeadline);
  EXPECT_EQ(answer->status, 504);
  EXPECT_TRUE(generator.started[0].cancelled);
}

TEST_F(NemoTest, CancelsWhenTheClientGoesAway) {
  const auto answer = generate("\"a\", \"b\"");
  answer->hang_up();
  EXPECT_TRUE(generator.started[0].cancelled);
  EXPECT_TRUE(generator.started[1].cancelled);
  EXPECT_EQ(count("nemo", "cancelled"), 1);
}

TEST_F(NemoTest, IsUnavailableWithoutAPipeline) {
  context->validation = nullptr;
  const auto answer = generate("\"a\"");
  EXPECT_EQ(answer->status, 503);
  EXPECT_EQ(answer->header("Retry-After"), "1");
}

}  // namespace
}  // namespace octet::router
