// The HTTP APIs without sockets and pipelines: requests go straight to the routes, a fake generator records
// what is started and says what the test tells it to say. The tokenizer and chat template are the nano
// model's.
#pragma once

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/json.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "router/api/apis.h"
#include "router/generation/generation.h"

namespace octet::router {

// Keeps what was sent.
class FakeResponder final : public HttpResponder {
 public:
  void send(int status_sent, std::string content_type_sent, std::string body_sent,
            HttpHeaders headers_sent) override;
  void start_stream(int status_sent, std::string content_type_sent, HttpHeaders headers_sent) override;
  void write(std::string bytes) override { body += bytes; }
  void end_stream() override;
  void on_close(std::function<void()> callback) override { on_close_ = std::move(callback); }

  void hang_up() { on_close_(); }
  std::string header(const std::string& name) const;
  boost::json::object json() const { return boost::json::parse(body).as_object(); }
  // The data of a stream's events; the last is "[DONE]" when all went well.
  std::vector<std::string> events() const;
  // The events' objects, without "[DONE]".
  std::vector<boost::json::object> chunks() const;

  int status = 0;  // 0: nothing was sent
  std::string content_type;
  std::string body;
  HttpHeaders headers;
  bool streamed = false;
  bool ended = false;

 private:
  std::function<void()> on_close_;
};

class FakeGenerator final : public Generator {
 public:
  struct Started {
    ValidatedRequest request;
    std::shared_ptr<GenerationSink> sink;  // null once the generation is over
    bool cancelled = false;
  };

  GenerationId start(ValidatedRequest request, std::shared_ptr<GenerationSink> sink) override;
  void cancel(GenerationId id) override;

  std::vector<Started> started;
};

class ApiTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite();
  static void TearDownTestSuite();
  void SetUp() override;

  std::shared_ptr<FakeResponder> call(const std::string& method, const std::string& path,
                                      const std::string& body,
                                      std::vector<std::pair<std::string, std::string>> headers = {});

  // New output of a choice whose tokens spell the text, with logprobs -1, -2, ... when the request wants
  // them.
  Piece piece(size_t prompt, uint32_t index, const std::string& text,
              std::optional<FinishReason> finish = std::nullopt, const std::string& stop_reason = "");
  void say(size_t prompt, Piece piece) { sink(prompt).on_piece(std::move(piece)); }
  void say(size_t prompt, uint32_t index, const std::string& text,
           std::optional<FinishReason> finish = std::nullopt, const std::string& stop_reason = "") {
    say(prompt, piece(prompt, index, text, finish, stop_reason));
  }
  void done(size_t prompt, GenerationUsage usage = {});
  void fail(size_t prompt, const absl::Status& status);

  const ValidatedRequest& request(size_t prompt) { return generator.started.at(prompt).request; }
  GenerationSink& sink(size_t prompt) { return *generator.started.at(prompt).sink; }
  size_t num_started() const { return generator.started.size(); }
  double count(const std::string& api, const std::string& outcome);

  // For the requests that follow; the model's own is kNemotron4.
  void use_chat_format(ChatFormat format);

  static std::shared_ptr<const Tokenizer> tokenizer;
  static std::unique_ptr<ChatTemplate> chat_template;
  boost::asio::io_context loop;
  FakeGenerator generator;
  RouterMetrics metrics;
  ModelInfo model{.name = "org/nano", .max_model_len = 256, .vocab_size = 1600, .backend = "cpu"};
  std::unique_ptr<ChatTemplate> other_template;  // used instead, when set
  std::unique_ptr<ServiceContext> context;
  HttpServer::Routes routes;
};

}  // namespace octet::router
