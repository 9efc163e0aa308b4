// Every way in which a request can be wrong, and the field and sentence that say so.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "base/status.h"
#include "router/request/validated_request.h"
#include "tests/router/request/request_testing.h"

namespace octet::router {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();

struct BadDraft {
  std::string name;
  std::function<void(RequestDraft&)> spoil;
  std::string field;
  std::string sentence;  // a part of it, with the limit and the value
};

void PrintTo(const BadDraft& bad, std::ostream* out) {
  *out << bad.name;
}  // GoogleTest finds it by this name

class ValidateRefuses : public testing::TestWithParam<BadDraft> {};

TEST_P(ValidateRefuses, ByName) {
  const BadDraft& bad = GetParam();
  RequestDraft draft;
  draft.prompt = std::vector<int64_t>(5, 300);
  bad.spoil(draft);
  const absl::Status status = validate(draft, nano_context(), kNow).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_EQ(field_of(status), bad.field) << status;
  EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr(bad.field + ": "), HasSubstr(bad.sentence)));
  EXPECT_LT(status.message().size(), 300U);
}

// A number field with each of these values.
template <typename Value>
std::vector<BadDraft> each(const std::string& field, std::optional<Value> RequestDraft::*member,
                           const std::string& limits,
                           const std::vector<std::pair<std::string, Value>>& values) {
  std::vector<BadDraft> cases;
  for (const auto& [name, value] : values) {
    std::ostringstream shown;
    shown << value;
    const std::string sentence = limits + (std::is_integral_v<Value> ? "; is " + shown.str() : "; is ");
    std::string case_name = field;
    case_name.append("_").append(name);
    cases.push_back({case_name, [=, v = value](RequestDraft& draft) { draft.*member = v; }, field, sentence});
  }
  return cases;
}

std::vector<BadDraft> bad_numbers() {
  using Reals = std::vector<std::pair<std::string, double>>;
  using Integers = std::vector<std::pair<std::string, int64_t>>;
  const Reals odd = {{"nan", kNan}, {"inf", kInfinity}, {"minus_inf", -kInfinity}};
  const auto with_odd = [&](Reals values) {
    values.insert(values.end(), odd.begin(), odd.end());
    return values;
  };
  std::vector<BadDraft> cases;
  const auto add = [&](const std::vector<BadDraft>& more) {
    cases.insert(cases.end(), more.begin(), more.end());
  };
  add(each("temperature", &RequestDraft::temperature, "from 0 to 100",
           with_odd({{"low", -1e-9}, {"high", 100.001}})));
  add(each("top_p", &RequestDraft::top_p, "above 0 and at most 1",
           with_odd({{"zero", 0}, {"low", -1}, {"high", 1.001}})));
  add(each("min_p", &RequestDraft::min_p, "from 0 to 1", with_odd({{"low", -1e-9}, {"high", 1.001}})));
  add(each("repetition_penalty", &RequestDraft::repetition_penalty, "above 0 and at most 100",
           with_odd({{"zero", 0}, {"low", -1}, {"high", 101}})));
  add(each("presence_penalty", &RequestDraft::presence_penalty, "from -2 to 2",
           with_odd({{"low", -2.01}, {"high", 2.01}})));
  add(each("frequency_penalty", &RequestDraft::frequency_penalty, "from -2 to 2",
           with_odd({{"low", -2.01}, {"high", 2.01}})));
  add(each("timeout_seconds", &RequestDraft::timeout_seconds, "above 0 and at most 3600",
           with_odd({{"zero", 0}, {"low", -1}, {"high", 3600.1}, {"huge", 1e300}})));
  const Integers extremes = {{"least", kLeast}, {"minus", -1}, {"most", kMost}};
  add(each("top_k", &RequestDraft::top_k, "from 0 to 9223372036854775807",
           Integers{{"least", kLeast}, {"minus", -1}}));
  add(each("n", &RequestDraft::n, "from 1 to 128",
           Integers{{"least", kLeast}, {"zero", 0}, {"high", 129}, {"most", kMost}}));
  add(each("logprobs", &RequestDraft::logprobs, "from 0 to 20", extremes));
  add(each("prompt_logprobs", &RequestDraft::prompt_logprobs, "from 0 to 20", extremes));
  add(each("min_tokens", &RequestDraft::min_tokens, "from 0 to 64", extremes));
  return cases;
}

std::vector<BadDraft> bad_lengths() {
  return {
      {"max_tokens_zero", [](auto& d) { d.max_tokens = 0; }, "max_tokens", "from 1 to 59; is 0"},
      {"max_tokens_minus", [](auto& d) { d.max_tokens = -1; }, "max_tokens", "from 1 to 59; is -1"},
      {"max_tokens_least", [](auto& d) { d.max_tokens = kLeast; }, "max_tokens", "from 1 to 59"},
      {"max_tokens_past_context", [](auto& d) { d.max_tokens = 60; }, "max_tokens",
       "at most 59 (the context of 64 tokens less the prompt's 5); is 60"},
      {"max_tokens_most", [](auto& d) { d.max_tokens = kMost; }, "max_tokens", "at most 59"},
      {"min_tokens_above_max", [](auto& d) { d.max_tokens = 3, d.min_tokens = 4; }, "min_tokens",
       "at most max_tokens, which is 3; is 4"},
      {"min_tokens_above_room", [](auto& d) { d.min_tokens = 60; }, "min_tokens", "which is 59; is 60"},
  };
}

std::vector<BadDraft> bad_prompts() {
  return {
      {"prompt_missing", [](auto& d) { d.prompt = std::monostate(); }, "prompt", "missing"},
      {"prompt_empty", [](auto& d) { d.prompt = std::string(); }, "prompt", "at least 1 token; has 0"},
      {"prompt_no_ids", [](auto& d) { d.prompt = std::vector<int64_t>(); }, "prompt",
       "at least 1 token; has 0"},
      {"prompt_not_utf8", [](auto& d) { d.prompt = std::string("ab\xED\xA0\x80"); }, "prompt", "valid UTF-8"},
      {"prompt_cut_utf8", [](auto& d) { d.prompt = std::string("ab\xE2\x82"); }, "prompt", "valid UTF-8"},
      {"prompt_fills_context", [](auto& d) { d.prompt = std::vector<int64_t>(64, 1); }, "prompt",
       "has 64 tokens; must have fewer than the context's 64"},
      {"prompt_text_fills_context", [](auto& d) { d.prompt = std::string(70, '7'); }, "prompt",
       "has 70 tokens"},
      {"prompt_bos_fills_context", [](auto& d) { d.prompt = std::vector<int64_t>(63, 1), d.add_bos = true; },
       "prompt", "has 64 tokens"},
      {"prompt_many_ids", [](auto& d) { d.prompt = std::vector<int64_t>(65, 1); }, "prompt",
       "at most 64 entries; has 65"},
      {"prompt_large", [](auto& d) { d.prompt = std::string(8 << 20, 'a'); }, "prompt",
       "has 8388608 bytes; the context of 64 tokens holds at most"},
      {"prompt_id_of_vocabulary",
       [](auto& d) {
         d.prompt = std::vector<int64_t>{5, 1600};
       },
       "prompt", "index 1 must be from 0 to 1599; is 1600"},
      {"prompt_id_minus", [](auto& d) { d.prompt = std::vector<int64_t>{-1}; }, "prompt", "is -1"},
      {"prompt_id_wraps", [](auto& d) { d.prompt = std::vector<int64_t>{int64_t{1} << 32}; }, "prompt",
       "is 4294967296"},
      {"messages_none", [](auto& d) { d.prompt = std::vector<ChatMessage>(); }, "messages", "at least 1"},
      {"messages_many",
       [](auto& d) {
         d.prompt = std::vector<ChatMessage>(1025, {"user", ""});
       },
       "messages", "at most 1024 entries; has 1025"},
      {"messages_large",
       [](auto& d) {
         d.prompt = std::vector<ChatMessage>{{"user", std::string(1 << 20, 'a')}};
       },
       "messages", "has 1048576 bytes"},
      {"messages_fill_context",
       [](auto& d) {
         d.prompt = std::vector<ChatMessage>{{"user", std::string(64, '7')}};
       },
       "messages", "must have fewer than the context's 64"},
      {"messages_role",
       [](auto& d) {
         d.prompt = std::vector<ChatMessage>{{"user", "a"}, {"bot", "b"}};
       },
       "messages[1].role", "bot"},
      {"messages_content",
       [](auto& d) {
         d.prompt = std::vector<ChatMessage>{{"user", "\xFF"}};
       },
       "messages[0].content", "valid UTF-8"},
  };
}

std::vector<BadDraft> bad_lists() {
  const auto strings = [](size_t num) { return std::vector<std::string>(num, "x"); };
  return {
      {"stop_many", [=](auto& d) { d.stop = strings(17); }, "stop", "at most 16 entries; has 17"},
      {"stop_empty",
       [](auto& d) {
         d.stop = {"x", ""};
       },
       "stop", "entry 1 must not be empty"},
      {"stop_long", [](auto& d) { d.stop = {std::string(257, 'x')}; }, "stop", "at most 256 bytes; has 257"},
      {"stop_not_utf8", [](auto& d) { d.stop = {"\xC3"}; }, "stop", "entry 0 must be valid UTF-8"},
      {"stop_ids_many", [](auto& d) { d.stop_token_ids.assign(65, 1); }, "stop_token_ids",
       "at most 64 entries; has 65"},
      {"stop_ids_high",
       [](auto& d) {
         d.stop_token_ids = {1, 1600};
       },
       "stop_token_ids", "index 1 must be from 0 to 1599"},
      {"stop_ids_minus", [](auto& d) { d.stop_token_ids = {-1}; }, "stop_token_ids", "is -1"},
      {"bad_words_many", [=](auto& d) { d.bad_words = strings(65); }, "bad_words",
       "at most 64 entries; has 65"},
      {"bad_words_empty", [](auto& d) { d.bad_words = {""}; }, "bad_words", "entry 0 must not be empty"},
      {"bad_words_long", [](auto& d) { d.bad_words = {std::string(257, 'x')}; }, "bad_words", "has 257"},
      {"bad_words_not_utf8",
       [](auto& d) {
         d.bad_words = {"a", "\x80"};
       },
       "bad_words", "entry 1 must be valid UTF-8"},
      {"logit_bias_many",
       [](auto& d) {
         for (int64_t id = 0; id < 1025; ++id) d.logit_bias[id] = 1;
       },
       "logit_bias", "at most 1024 entries; has 1025"},
      {"logit_bias_id",
       [](auto& d) {
         d.logit_bias = {{1600, 1}};
       },
       "logit_bias", "from 0 to 1599; is 1600"},
      {"logit_bias_minus_id",
       [](auto& d) {
         d.logit_bias = {{-1, 1}};
       },
       "logit_bias", "is -1"},
      {"logit_bias_high",
       [](auto& d) {
         d.logit_bias = {{5, 100.5}};
       },
       "logit_bias", "token id 5 must be from -100 to 100; is 100.5"},
      {"logit_bias_low",
       [](auto& d) {
         d.logit_bias = {{5, -101}};
       },
       "logit_bias", "is -101"},
      {"logit_bias_nan",
       [](auto& d) {
         d.logit_bias = {{5, kNan}};
       },
       "logit_bias", "is nan"},
      {"logit_bias_inf",
       [](auto& d) {
         d.logit_bias = {{5, -kInfinity}};
       },
       "logit_bias", "is -inf"},
  };
}

std::vector<BadDraft> bad_ids() {
  std::vector<BadDraft> cases = {{"request_id_long", [](auto& d) { d.request_id = std::string(129, 'a'); },
                                  "request_id", "at most 128 characters; has 129"}};
  for (const char c : std::string(" /\n\"{\x7F\xC3\0[`@^", 12)) {
    const std::string name = "request_id_byte_" + std::to_string(static_cast<unsigned char>(c));
    cases.push_back({name, [c](auto& d) { d.request_id = std::string("ab") + c; }, "request_id",
                     "[A-Za-z0-9_.:-]; has byte 0x"});
  }
  return cases;
}

std::string name_of(const testing::TestParamInfo<BadDraft>& instance) {
  return instance.param.name;
}

INSTANTIATE_TEST_SUITE_P(Numbers, ValidateRefuses, testing::ValuesIn(bad_numbers()), name_of);
INSTANTIATE_TEST_SUITE_P(Lengths, ValidateRefuses, testing::ValuesIn(bad_lengths()), name_of);
INSTANTIATE_TEST_SUITE_P(Prompts, ValidateRefuses, testing::ValuesIn(bad_prompts()), name_of);
INSTANTIATE_TEST_SUITE_P(Lists, ValidateRefuses, testing::ValuesIn(bad_lists()), name_of);
INSTANTIATE_TEST_SUITE_P(Ids, ValidateRefuses, testing::ValuesIn(bad_ids()), name_of);

TEST(ValidateRefusesModel, NamesTheModelAskedForAndTheOneServed) {
  RequestDraft draft = draft_of("hello");
  draft.model = "nemotron\n340b";
  const absl::Status status = validate(draft, nano_context(), kNow).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("\"nemotron\\n340b\""), HasSubstr("\"nano\"")));
}

TEST(ValidateRefusesModel, ShowsALongNameInPart) {
  RequestDraft draft = draft_of("hello");
  draft.model = std::string(1 << 20, '\xFF');
  EXPECT_LT(validate(draft, nano_context(), kNow).status().message().size(), 500U);
}

TEST(ValidateRefusesModel, ATokenizerLargerThanTheModelIsNoFaultOfTheRequest) {
  ValidationContext context = nano_context();
  context.model.vocab_size = 1599;
  EXPECT_EQ(validate(draft_of("hello"), context, kNow).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(ValidateRefusesModel, AChatForAModelWithoutATemplate) {
  ValidationContext context = nano_context();
  context.chat_template = nullptr;
  RequestDraft draft;
  draft.prompt = std::vector<ChatMessage>{{"user", "a"}};
  EXPECT_EQ(field_of(validate(draft, context, kNow).status()), "messages");
}

TEST(ValidateKeepsTextPrivate, NoErrorShowsPromptOrStopStrings) {
  const std::string secret = "xyzzy-secret";
  std::vector<RequestDraft> drafts(5);
  drafts[0].prompt = secret + "\xFF";
  drafts[1].prompt = secret + std::string(8 << 20, 'a');
  drafts[2].prompt = std::vector<ChatMessage>{{"user", secret + "\xFF"}};
  drafts[3].prompt = std::string("a");
  drafts[3].stop = {secret + "\xFF"};
  drafts[4].prompt = std::string("a");
  drafts[4].bad_words = {secret + std::string(300, 'a')};
  for (const RequestDraft& draft : drafts) {
    const absl::Status status = validate(draft, nano_context(), kNow).status();
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(status.ToString(), Not(HasSubstr("xyzzy")));
  }
}

}  // namespace
}  // namespace octet::router
