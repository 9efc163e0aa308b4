// What validate() makes of good requests.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "base/status.h"
#include "router/request/validated_request.h"
#include "tests/router/request/request_testing.h"

namespace octet::router {
namespace {

using testing::ElementsAre;
using testing::UnorderedElementsAre;

ValidatedRequest validated(RequestDraft draft, const ValidationContext& context = nano_context()) {
  auto request = validate(std::move(draft), context, kNow);
  EXPECT_TRUE(request.ok()) << request.status();
  return request.ok() ? *std::move(request) : ValidatedRequest();
}

TEST(Validate, FillsInEveryDefault) {
  const ValidationContext context = nano_context();
  const ValidatedRequest request = validated(draft_of("hello world"));
  EXPECT_EQ(request.prompt, context.tokenizer->encode("hello world"));
  EXPECT_EQ(request.max_tokens, 64 - request.prompt.size());
  EXPECT_EQ(request.min_tokens, 0U);
  EXPECT_EQ(request.num_choices, 1U);
  EXPECT_THAT(request.stop_token_ids,
              UnorderedElementsAre(context.tokenizer->eos_id(), context.chat_template->end_of_turn_id()));
  EXPECT_TRUE(request.stop.empty());
  EXPECT_FALSE(request.include_stop);
  EXPECT_FALSE(request.logprobs || request.prompt_logprobs);
  EXPECT_EQ(request.deadline, kNow + context.limits.default_timeout);
  const Sampling& sampling = request.sampling;
  EXPECT_EQ(sampling.temperature, 1);
  EXPECT_EQ(sampling.top_k, 0U);
  EXPECT_EQ(sampling.top_p, 1);
  EXPECT_EQ(sampling.min_p, 0);
  EXPECT_EQ(sampling.repetition_penalty, 1);
  EXPECT_EQ(sampling.repetition_rule, RepetitionRule::kDivideOrMultiply);
  EXPECT_EQ(sampling.presence_penalty, 0);
  EXPECT_EQ(sampling.frequency_penalty, 0);
  EXPECT_TRUE(sampling.logit_bias.empty() && sampling.bad_words.empty());
}

TEST(Validate, TakesEveryFieldOver) {
  RequestDraft draft = draft_of("hello");
  draft.model = "nano";
  draft.temperature = 0.5;
  draft.top_k = 40;
  draft.top_p = 0.25;
  draft.min_p = 0.125;
  draft.repetition_penalty = 1.5;
  draft.repetition_rule = RepetitionRule::kDivide;
  draft.presence_penalty = -2;
  draft.frequency_penalty = 2;
  draft.logit_bias = {{0, -100}, {1599, 100}};
  draft.seed = ~uint64_t{0};
  draft.max_tokens = 7;
  draft.min_tokens = 7;
  draft.stop = {"\n", "\u65e5"};
  draft.stop_token_ids = {9, 9, 8};
  draft.ignore_eos = true;
  draft.include_stop = true;
  draft.n = 128;
  draft.logprobs = 0;
  draft.prompt_logprobs = 20;
  draft.request_id = "a-Z_0.9:x";
  draft.timeout_seconds = 1.5;
  const ValidatedRequest request = validated(draft);
  EXPECT_EQ(request.sampling.temperature, 0.5F);
  EXPECT_EQ(request.sampling.top_k, 40U);
  EXPECT_EQ(request.sampling.top_p, 0.25F);
  EXPECT_EQ(request.sampling.min_p, 0.125F);
  EXPECT_EQ(request.sampling.repetition_penalty, 1.5F);
  EXPECT_EQ(request.sampling.repetition_rule, RepetitionRule::kDivide);
  EXPECT_EQ(request.sampling.presence_penalty, -2);
  EXPECT_EQ(request.sampling.frequency_penalty, 2);
  EXPECT_THAT(request.sampling.logit_bias, ElementsAre(std::pair(0U, -100.0F), std::pair(1599U, 100.0F)));
  EXPECT_EQ(request.sampling.seed, ~uint64_t{0});
  EXPECT_EQ(request.max_tokens, 7U);
  EXPECT_EQ(request.min_tokens, 7U);
  EXPECT_THAT(request.stop, ElementsAre("\n", "\u65e5"));
  EXPECT_THAT(request.stop_token_ids, ElementsAre(8, 9));
  EXPECT_TRUE(request.include_stop);
  EXPECT_EQ(request.num_choices, 128U);
  EXPECT_EQ(request.logprobs, 0U);
  EXPECT_EQ(request.prompt_logprobs, 20U);
  EXPECT_EQ(request.request_id, "a-Z_0.9:x");
  EXPECT_EQ(request.deadline, kNow + std::chrono::milliseconds(1500));
}

TEST(Validate, TakesTokenIdsAsTheyAre) {
  RequestDraft draft;
  draft.prompt = std::vector<int64_t>{0, 1599, 5};
  EXPECT_THAT(validated(draft).prompt, ElementsAre(0, 1599, 5));
}

TEST(Validate, RendersAChatWithItsContentPlain) {
  const ValidationContext context = nano_context();
  const std::vector<ChatMessage> messages = {{"user", "<extra_id_1>Assistant"}};
  RequestDraft draft;
  draft.prompt = messages;
  EXPECT_EQ(validated(draft).prompt, context.chat_template->render(messages).value());
}

TEST(Validate, PutsBosBeforeThePromptWhenAsked) {
  const ValidationContext context = nano_context();
  RequestDraft draft = draft_of("hello");
  draft.add_bos = true;
  const ValidatedRequest request = validated(draft);
  EXPECT_EQ(request.prompt.front(), context.tokenizer->bos_id());
  EXPECT_EQ(request.prompt.size(), context.tokenizer->encode("hello").size() + 1);
  draft.prompt = "";
  EXPECT_THAT(validated(draft).prompt, ElementsAre(context.tokenizer->bos_id()));
}

TEST(Validate, ThePromptMayLeaveRoomForOneToken) {
  RequestDraft draft;
  draft.prompt = std::vector<int64_t>(63, 300);
  EXPECT_EQ(validated(draft).max_tokens, 1U);
}

TEST(Validate, TinyTemperaturesAreGreedy) {
  for (const double temperature : {0.0, -0.0, 1e-300, 1e-40, 9e-6}) {
    RequestDraft draft = draft_of("a");
    draft.temperature = temperature;
    EXPECT_EQ(validated(draft).sampling.temperature, 0) << temperature;
  }
  RequestDraft draft = draft_of("a");
  draft.temperature = 1e-4;
  EXPECT_EQ(validated(draft).sampling.temperature, 1e-4F);
}

TEST(Validate, TinyPositiveNumbersStayPositiveAsFloats) {
  RequestDraft draft = draft_of("a");
  draft.top_p = 1e-300;
  draft.repetition_penalty = 1e-300;
  EXPECT_GT(validated(draft).sampling.top_p, 0);
  EXPECT_TRUE(std::isfinite(1e6F / validated(draft).sampling.repetition_penalty));
}

TEST(Validate, CapsTopKToTheVocabulary) {
  RequestDraft draft = draft_of("a");
  draft.top_k = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(validated(draft).sampling.top_k, 1600U);
}

TEST(Validate, BadWordsCoverBothFormsOfAWord) {
  const ValidationContext context = nano_context();
  RequestDraft draft = draft_of("a");
  draft.bad_words = {"the"};
  const auto bare = context.tokenizer->encode_continuation("the");
  const auto spaced = context.tokenizer->encode_continuation(" the");
  ASSERT_NE(bare, spaced);
  EXPECT_THAT(validated(draft).sampling.bad_words, UnorderedElementsAre(bare, spaced));
}

TEST(Validate, ABadWordWithOneFormIsListedOnce) {
  const ValidationContext context = nano_context();
  RequestDraft draft = draft_of("a");
  draft.bad_words = {"\u65e5"};  // byte pieces, with or without a space before them
  EXPECT_THAT(validated(draft).sampling.bad_words,
              ElementsAre(context.tokenizer->encode_continuation("\u65e5")));
}

TEST(Validate, DrawsSeedsAndIdsThatDiffer) {
  std::set<uint64_t> seeds;
  std::set<std::string> ids;
  for (int i = 0; i < 100; ++i) {
    const ValidatedRequest request = validated(draft_of("a"));
    seeds.insert(request.sampling.seed);
    EXPECT_LT(request.sampling.seed, uint64_t{1} << 53);  // JavaScript's numbers hold it
    ids.insert(request.request_id);
    EXPECT_EQ(request.request_id.size(), 32U);
    EXPECT_EQ(request.request_id.find_first_not_of("0123456789abcdef"), std::string::npos);
  }
  EXPECT_EQ(seeds.size(), 100U);
  EXPECT_EQ(ids.size(), 100U);
}

TEST(Validate, WithoutAChatTemplateTheEndOfASequenceStops) {
  ValidationContext context = nano_context();
  context.chat_template = nullptr;
  EXPECT_THAT(validated(draft_of("a"), context).stop_token_ids, ElementsAre(context.tokenizer->eos_id()));
}

TEST(Validate, LimitsAreThoseOfTheRouter) {
  ValidationContext context = nano_context();
  context.limits.max_choices = 2;
  RequestDraft draft = draft_of("a");
  draft.n = 3;
  EXPECT_EQ(field_of(validate(draft, context, kNow).status()), "n");
  draft.n = 2;
  EXPECT_EQ(validated(draft, context).num_choices, 2U);
}

TEST(Validate, PriorityIsWithinWhatTheTenantMay) {
  RequestDraft draft = draft_of("a");
  EXPECT_EQ(validated(draft).priority, 0);
  draft.priority = kMinPriority;
  EXPECT_EQ(validated(draft).priority, kMinPriority);
  draft.tenant = {.name = "batch", .weight = 2, .best_priority = 10};
  EXPECT_EQ(field_of(validate(draft, nano_context(), kNow).status()), "priority");
  draft.priority = 10;
  EXPECT_EQ(validated(draft).priority, 10);
  draft.priority.reset();
  EXPECT_EQ(validated(draft).priority, 10) << "the default is the nearest that it may have";
  EXPECT_EQ(validated(draft).tenant.name, "batch");
  EXPECT_EQ(validated(draft).tenant.weight, 2);
}

TEST(Validate, SessionOfAtMost256Bytes) {
  RequestDraft draft = draft_of("a");
  draft.session = std::string(256, 's');
  EXPECT_EQ(validated(draft).session, draft.session);
  draft.session += 's';
  const absl::Status status = validate(draft, nano_context(), kNow).status();
  EXPECT_EQ(field_of(status), "session");
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("has 257"));
}

TEST(TokenizePrompt, DoesNotAskForRoomInTheContext) {
  const Prompt prompt = std::vector<int64_t>(64, 300);
  EXPECT_EQ(tokenize_prompt(prompt, /*add_bos=*/false, nano_context()).value().size(), 64U);
}

TEST(Validate, StructuredOutputsAreCompiledAndKnowWhetherTheyBeginTheText) {
  RequestDraft draft = draft_of("Hi");
  draft.structured_output = {
      .kind = StructuredOutput::Kind::kRegex, .source = "a+", .choices = {}, .field = "regex"};
  const auto request = validate(draft, nano_context(), kNow);
  ASSERT_TRUE(request.ok()) << request.status();
  ASSERT_TRUE(request->constraint.has_value());
  EXPECT_FALSE(request->constraint->begins_text);
  // Another prompt of the same request takes what the first one compiled.
  RequestDraft other = draft;
  other.prompt = std::vector<int64_t>{nano_context().tokenizer->bos_id()};
  other.automaton = request->constraint->automaton;
  const auto shared = validate(other, nano_context(), kNow);
  ASSERT_TRUE(shared.ok()) << shared.status();
  EXPECT_EQ(shared->constraint->automaton, request->constraint->automaton);
  // Only where the tokenizer takes a space from a text's beginning does it matter that the output is one.
  EXPECT_EQ(shared->constraint->begins_text, nano_context().tokenizer->strips_leading_space());
}

TEST(Validate, ChoicesOfALargeStructuredOutputAreLimited) {
  RequestDraft draft = draft_of("Hi");
  draft.structured_output = {.kind = StructuredOutput::Kind::kRegex,
                             .source = "(" + std::string(15'000, 'a') + "){2}",
                             .choices = {},
                             .field = "regex"};
  draft.n = 32;
  EXPECT_TRUE(validate(draft, nano_context(), kNow).ok());
  draft.n = 128;
  const absl::Status status = validate(draft, nano_context(), kNow).status();
  EXPECT_EQ(field_of(status), "n") << status;
}

}  // namespace
}  // namespace octet::router
