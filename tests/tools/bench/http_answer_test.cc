#include "tools/bench/http_answer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace octet::bench {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Answer read_events(const std::vector<std::string>& events, bool& done) {
  Answer answer;
  done = false;
  for (const std::string& event : events)
    read_openai_event(event, Time() + std::chrono::seconds(1), answer, done);
  return answer;
}

TEST(EventReader, JoinsEventsHoweverTheBytesAreCut) {
  const std::string stream = "data: one\n\n: comment\ndata:two\r\ndata: lines\r\n\r\nevent: x\n\ndata: cut";
  for (size_t cut = 0; cut <= stream.size(); ++cut) {
    EventReader reader;
    std::vector<std::string> events = reader.feed(stream.substr(0, cut));
    for (std::string& event : reader.feed(stream.substr(cut))) events.push_back(std::move(event));
    EXPECT_THAT(events, ElementsAre("one", "two\nlines")) << cut;
  }
}

TEST(EventReader, GivesNothingForAnUnfinishedEvent) {
  EventReader reader;
  EXPECT_THAT(reader.feed("data: one\n"), IsEmpty());
  EXPECT_THAT(reader.feed("\n"), ElementsAre("one"));
}

TEST(OpenaiEvents, BuildTheAnswerOfAChat) {
  bool done = false;
  const Answer answer = read_events(
      {R"({"choices": [{"delta": {"role": "assistant", "content": ""}}]})",
       R"({"choices": [{"delta": {"content": "Hel"}}]})", R"({"choices": [{"delta": {"content": "lo"}}]})",
       R"({"choices": [{"delta": {}, "finish_reason": "stop"}]})",
       R"({"choices": [], "usage": {"completion_tokens": 3}})", "[DONE]"},
      done);
  EXPECT_TRUE(done);
  EXPECT_FALSE(answer.failure.has_value());
  EXPECT_EQ(answer.text, "Hello");
  EXPECT_EQ(answer.num_tokens, 3u);
  EXPECT_EQ(answer.arrivals.size(), 2u);  // the empty first piece is no token
}

TEST(OpenaiEvents, BuildTheAnswerOfACompletion) {
  bool done = false;
  const Answer answer =
      read_events({R"({"choices": [{"text": "a"}]})", R"({"choices": [{"text": "b"}]})"}, done);
  EXPECT_FALSE(done);
  EXPECT_EQ(answer.text, "ab");
}

TEST(OpenaiEvents, FailOnAnErrorInTheStream) {
  bool done = false;
  const Answer answer = read_events({R"({"error": {"message": "the pipeline died"}})"}, done);
  ASSERT_TRUE(answer.failure.has_value());
  EXPECT_EQ(answer.failure->kind, "error in stream");
  EXPECT_EQ(answer.failure->detail, "the pipeline died");
}

TEST(OpenaiEvents, FailOnWhatIsNotJson) {
  bool done = false;
  const Answer answer = read_events({"{"}, done);
  ASSERT_TRUE(answer.failure.has_value());
  EXPECT_EQ(answer.failure->kind, "malformed answer");
}

class NemoBody : public testing::Test {
 protected:
  NemoBody() {
    prompt_.text = "Say hi.";
    prompt_.prompt_tokens = 3;
  }
  Answer read(const std::string& body) {
    Answer answer;
    read_nemo_body(body, prompt_, answer);
    return answer;
  }
  Prompt prompt_;
};

TEST_F(NemoBody, GivesTheTextAfterThePromptWithoutTheEndString) {
  const Answer answer =
      read(R"({"sentences": ["Say hi. Hi!\n<extra_id_1>"], "token_ids": [[1, 2, 3, 4, 5]]})");
  EXPECT_FALSE(answer.failure.has_value());
  EXPECT_EQ(answer.text, " Hi!\n");
  EXPECT_EQ(answer.num_tokens, 2u);
  EXPECT_THAT(answer.arrivals, IsEmpty());
}

TEST_F(NemoBody, CountsNoTokensWhenThePromptsAreUnknown) {
  prompt_.prompt_tokens.reset();
  EXPECT_FALSE(read(R"({"sentences": ["Say hi."], "token_ids": [[1, 2, 3]]})").num_tokens.has_value());
}

TEST_F(NemoBody, FailsWhenThePromptIsNotEchoed) {
  const Answer answer = read(R"({"sentences": ["Hi!"], "token_ids": [[1]]})");
  ASSERT_TRUE(answer.failure.has_value());
  EXPECT_THAT(answer.failure->detail, HasSubstr("does not start with the prompt"));
}

TEST_F(NemoBody, FailsOnOtherShapes) {
  for (const char* body : {"", "[]", "{}", R"("text")", R"({"sentences": []})",
                           R"({"sentences": [1], "token_ids": [[]]})", R"({"sentences": ["Say hi."]})"}) {
    EXPECT_TRUE(read(body).failure.has_value()) << body;
  }
}

TEST(ErrorDetail, FindsTheMessageOfEveryApi) {
  EXPECT_EQ(error_detail(R"({"error": {"message": "a"}})"), "a");
  EXPECT_EQ(error_detail(R"({"message": "b"})"), "b");
  EXPECT_EQ(error_detail("\"c\"\n"), "c");
  EXPECT_EQ(error_detail("<html>"), "<html>");
  EXPECT_EQ(error_detail(std::string(1000, 'x')).size(), 200u);
}

}  // namespace
}  // namespace octet::bench
