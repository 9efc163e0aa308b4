#include "tests/router/api/api_fixture.h"

#include <algorithm>
#include <utility>

namespace octet::router {

std::shared_ptr<const Tokenizer> ApiTest::tokenizer;
std::unique_ptr<ChatTemplate> ApiTest::chat_template;

void FakeResponder::send(int status_sent, std::string content_type_sent, std::string body_sent,
                         HttpHeaders headers_sent) {
  EXPECT_EQ(status, 0) << "two answers";
  status = status_sent;
  content_type = std::move(content_type_sent);
  body = std::move(body_sent);
  headers = std::move(headers_sent);
  ended = true;
}

void FakeResponder::start_stream(int status_sent, std::string content_type_sent, HttpHeaders headers_sent) {
  EXPECT_EQ(status, 0) << "two answers";
  status = status_sent;
  content_type = std::move(content_type_sent);
  headers = std::move(headers_sent);
  streamed = true;
}

void FakeResponder::end_stream() {
  EXPECT_FALSE(ended) << "ended twice";
  ended = true;
}

std::string FakeResponder::header(const std::string& name) const {
  const auto found =
      std::find_if(headers.begin(), headers.end(), [&](const auto& h) { return h.first == name; });
  return found == headers.end() ? "" : found->second;
}

std::vector<std::string> FakeResponder::events() const {
  std::vector<std::string> events;
  for (size_t begin = 0; begin < body.size();) {
    const size_t end = body.find("\n\n", begin);
    if (end == std::string::npos || body.compare(begin, 6, "data: ") != 0) {
      ADD_FAILURE() << "not an event: " << body.substr(begin);
      break;
    }
    events.push_back(body.substr(begin + 6, end - begin - 6));
    begin = end + 2;
  }
  return events;
}

std::vector<boost::json::object> FakeResponder::chunks() const {
  std::vector<boost::json::object> chunks;
  for (const std::string& event : events()) {
    if (event != "[DONE]") chunks.push_back(boost::json::parse(event).as_object());
  }
  return chunks;
}

GenerationId FakeGenerator::start(ValidatedRequest request, std::shared_ptr<GenerationSink> sink) {
  started.push_back({.request = std::move(request), .sink = std::move(sink), .cancelled = false});
  return started.size();
}

void FakeGenerator::cancel(GenerationId id) {
  started.at(id - 1).cancelled = true;
  started.at(id - 1).sink.reset();
}

void ApiTest::SetUpTestSuite() {
  auto loaded = Tokenizer::load("deploy/nano/tokenizer.model");
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  tokenizer = *std::move(loaded);
  auto made = ChatTemplate::make(tokenizer, ChatFormat::kNemotron4);
  ASSERT_TRUE(made.ok()) << made.status();
  chat_template = std::make_unique<ChatTemplate>(*std::move(made));
}

void ApiTest::TearDownTestSuite() {
  chat_template.reset();
  tokenizer.reset();
}

void ApiTest::SetUp() {
  context = std::make_unique<ServiceContext>(ServiceContext{
      .loop = loop,
      .tokenizer = tokenizer,
      .chat_template = *chat_template,
      .generator = generator,
      .metrics = metrics,
      .validation = [this] {
        return ValidationContext{.tokenizer = tokenizer,
                                 .chat_template = other_template ? other_template.get() : chat_template.get(),
                                 .model = model,
                                 .limits = {}};
      }});
  add_openai_routes(routes, *context);
  add_nemo_routes(routes, *context);
}

void ApiTest::use_chat_format(ChatFormat format) {
  other_template = std::make_unique<ChatTemplate>(ChatTemplate::make(tokenizer, format).value());
}

std::shared_ptr<FakeResponder> ApiTest::call(const std::string& method, const std::string& path,
                                             const std::string& body,
                                             std::vector<std::pair<std::string, std::string>> headers) {
  HttpRequest request{.id = "from-connection",
                      .method = method,
                      .path = path,
                      .query = "",
                      .body = body,
                      .headers = std::move(headers),
                      .key = nullptr};
  auto responder = std::make_shared<FakeResponder>();
  const std::string route = path.starts_with("/v1/models/") ? "/v1/models/*" : path;
  routes.at(route).methods.at(method)(request, responder);
  return responder;
}

Piece ApiTest::piece(size_t prompt, uint32_t index, const std::string& text,
                     std::optional<FinishReason> finish, const std::string& stop_reason) {
  Piece piece;
  piece.index = index;
  piece.text = text;
  piece.tokens = tokenizer->encode_continuation(text);
  piece.finish = finish;
  piece.stop_reason = stop_reason;
  if (const auto num_top = request(prompt).logprobs) {
    for (const TokenId token : piece.tokens) {
      const auto logprob = -1.0F - static_cast<float>(piece.logprobs.size());
      piece.logprobs.push_back({.token = token, .logprob = logprob, .top = {}});
      for (uint32_t i = 0; i < *num_top; ++i) piece.logprobs.back().top.emplace_back(token + i, logprob - i);
    }
  }
  return piece;
}

void ApiTest::done(size_t prompt, GenerationUsage usage) {
  const auto last = std::move(generator.started.at(prompt).sink);
  last->on_done(usage);
}

void ApiTest::fail(size_t prompt, const absl::Status& status) {
  const auto last = std::move(generator.started.at(prompt).sink);
  last->on_error(status);
}

double ApiTest::count(const std::string& api, const std::string& outcome) {
  for (const auto& family : metrics.registry()->Collect()) {
    if (family.name != "octet_requests_total") continue;
    for (const auto& metric : family.metric) {
      const auto has = [&](const std::string& name, const std::string& value) {
        return std::any_of(metric.label.begin(), metric.label.end(),
                           [&](const auto& label) { return label.name == name && label.value == value; });
      };
      if (has("api", api) && has("outcome", outcome)) return metric.counter.value;
    }
  }
  return 0;
}

}  // namespace octet::router
