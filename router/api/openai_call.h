// What completions and chat completions share: one answer or a stream of server-sent events, choices over
// several prompts, usage, errors before and within a stream.
#pragma once

#include <boost/json/fwd.hpp>
#include <memory>
#include <string>
#include <vector>

#include "router/api/generation_call.h"
#include "router/api/openai_request.h"
#include "router/api/openai_response.h"

namespace octet::router {

struct OpenAiOptions {
  AnswerHead head;
  std::string request_id;
  uint32_t choices_per_prompt = 1;
  uint32_t returned_per_prompt = 1;  // of these, the likeliest a token
  StreamOptions stream;
};

// id_prefix, object: as in AnswerHead.
OpenAiOptions openai_options(const std::string& id_prefix, const std::string& object,
                             const ValidatedRequest& request, const ModelInfo& model,
                             const StreamOptions& stream);

class OpenAiCall : public GenerationCall {
 protected:
  OpenAiCall(ServiceContext& context, std::shared_ptr<HttpResponder> responder, OpenAiOptions options);

  // A whole choice, as it stands in "choices". index counts over all prompts.
  virtual boost::json::object whole_choice(Piece whole) = 0;
  // The chunks' choices that a piece of a stream becomes, in order.
  virtual std::vector<boost::json::object> chunk_choices(Piece piece) = 0;
  // What stands beside choices and usage in an answer that is not streamed.
  virtual void add_members(boost::json::object& answer) { (void)answer; }

  void on_piece(size_t prompt, Piece piece) final;
  void on_done(const GenerationUsage& usage) final;
  void on_error(const absl::Status& status) final;

  size_t prompt_of(uint32_t index) const { return index / options_.choices_per_prompt; }

 private:
  void send_event(const std::string& data);
  // choice, usage: may be null.
  void send_chunk(const boost::json::object* choice, const GenerationUsage* usage);
  void send_whole(const GenerationUsage& usage);

  const OpenAiOptions options_;
  std::string chunk_head_;     // the members that every chunk begins with
  bool started_ = false;       // the stream
  std::vector<Piece> wholes_;  // [num_choices] of an answer in one piece
};

// Sends a refusal, and counts it.
void send_openai_error(ServiceContext& context, const HttpRequest& request, HttpResponder& responder,
                       const absl::Status& status);

// The id of a request: its own "request_id", or the one it came with.
std::string request_id_of(const HttpRequest& request, const std::string& in_body);

}  // namespace octet::router
