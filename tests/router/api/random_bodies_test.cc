// Bodies with bytes and members changed at random: every one is refused with a well-formed error or starts a
// generation.
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "router/api/json_text.h"
#include "tests/router/api/api_fixture.h"

namespace octet::router {
namespace {

namespace json = boost::json;

struct Endpoint {
  const char* method;
  const char* path;
  const char* body;
};

constexpr Endpoint kEndpoints[] = {
    {"POST", "/v1/completions",
     R"({"model": "org/nano", "prompt": ["a", "b"], "max_tokens": 5, "temperature": 0.5, "stop": ["x"], "n": 2, "seed": 1,
         "logit_bias": {"5": 1}, "logprobs": 1, "stream": true, "stream_options": {"include_usage": true}, "top_k": 3,
         "stop_token_ids": [7], "bad_words": ["no"], "echo": true, "timeout": 5, "user": "u"})"},
    {"POST", "/v1/chat/completions",
     R"({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
         "max_completion_tokens": 5, "logprobs": true, "top_logprobs": 2, "response_format": {"type": "text"}})"},
    {"PUT", "/generate",
     R"({"sentences": ["Hi", "you"], "tokens_to_generate": 5, "temperature": 1.0, "add_BOS": false, "top_k": 0,
         "top_p": 1.0, "greedy": true, "all_probs": false, "repetition_penalty": 1.0, "min_tokens_to_generate": 1,
         "end_strings": ["<|endoftext|>", "<extra_id_1>"], "compute_logprob": true, "random_seed": 1})"},
};

class RandomBodiesTest : public ApiTest {
 protected:
  size_t below(size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random_); }

  json::value random_value() {
    static const json::array values =
        json::parse(
            R"([null, true, 0, -1, 9223372036854775807, 18446744073709551615, 1e308, -0.0, 0.5, "", "a",
                        "<extra_id_1>", [], {}, [1, 2], ["a", "b"], [[]], {"a": 1}, {"5": 1.5}, "\u0000",
                        "\ud83d\ude42"])")
            .as_array();
    return values[below(values.size())];
  }

  // One value somewhere in the tree becomes another one, or a member is added or goes.
  void change(json::value& value) {
    if (value.is_object() && !value.get_object().empty() && below(8) > 0) {
      json::object& object = value.get_object();
      auto member = object.begin() + below(object.size());
      if (below(16) == 0) {
        object.erase(member);
      } else if (below(16) == 0) {
        object["extra"] = random_value();
      } else {
        change(member->value());
      }
    } else if (value.is_array() && !value.get_array().empty() && below(2) == 0) {
      change(value.get_array()[below(value.get_array().size())]);
    } else {
      value = random_value();
    }
  }

  void damage(std::string& text) {
    const size_t at = below(text.size());
    switch (below(3)) {
      case 0:
        text[at] = static_cast<char>(below(256));
        break;
      case 1:
        text.erase(at, 1 + below(20));
        break;
      default:
        text.insert(at, text.substr(at, below(20)));
    }
  }

  std::mt19937 random_{1};
};

TEST_F(RandomBodiesTest, AreRefusedOrStarted) {
  int num_refused = 0;
  for (int round = 0; round < 6'000; ++round) {
    const Endpoint& endpoint = kEndpoints[round % 3];
    json::value tree = json::parse(endpoint.body);
    for (size_t changes = below(3); changes > 0; --changes) change(tree);
    std::string body = json::serialize(tree);
    if (below(3) == 0) damage(body);
    generator.started.clear();
    const auto answer = call(endpoint.method, endpoint.path, body, {{"content-type", "application/json"}});
    if (num_started() > 0) {
      EXPECT_EQ(answer->status, 0) << body;
      continue;
    }
    ++num_refused;
    EXPECT_TRUE(answer->status == 400 || answer->status == 404) << answer->status << " " << body;
    EXPECT_TRUE(parse_json(answer->body).ok()) << answer->body;
  }
  EXPECT_GT(num_refused, 1'000);  // the changes do something
  EXPECT_LT(num_refused, 5'000);  // and leave something
}

}  // namespace
}  // namespace octet::router
