#include "router/api/openai_call.h"

#include <algorithm>
#include <boost/json.hpp>
#include <chrono>
#include <iterator>
#include <numeric>
#include <utility>

#include "router/api/error_mapping.h"
#include "router/api/json_text.h"
#include "router/tracing/call_record.h"

namespace octet::router {
namespace {

namespace json = boost::json;

constexpr const char* kJson = "application/json";
constexpr const char* kApi = "openai";
constexpr size_t kChunkBytes = 256;  // of most chunks, their head aside

HttpHeaders answer_headers(const std::string& request_id) {
  HttpHeaders headers;
  if (!request_id.empty()) headers.emplace_back("x-request-id", request_id);
  return headers;
}

void send_error(HttpResponder& responder, const absl::Status& status, const std::string& request_id) {
  HttpHeaders headers = answer_headers(request_id);
  for (auto& header : error_headers(status)) headers.push_back(std::move(header));
  responder.send(http_status(status), kJson, openai_error_body(status), std::move(headers));
}

void append(Piece& whole, Piece piece) {
  whole.index = piece.index;
  whole.text += piece.text;
  whole.tokens.insert(whole.tokens.end(), piece.tokens.begin(), piece.tokens.end());
  std::move(piece.logprobs.begin(), piece.logprobs.end(), std::back_inserter(whole.logprobs));
  whole.finish = piece.finish;
  whole.stop_reason = std::move(piece.stop_reason);
}

double mean_logprob(const Piece& whole) {
  if (whole.logprobs.empty()) return 0;
  double sum = 0;
  for (const TokenLogprob& token : whole.logprobs) sum += token.logprob;
  return sum / static_cast<double>(whole.logprobs.size());
}

// Indices into wholes: of each prompt's choices those that are returned, best first where some are not.
std::vector<size_t> returned_choices(const std::vector<Piece>& wholes, const OpenAiOptions& options) {
  std::vector<size_t> returned;
  for (size_t first = 0; first < wholes.size(); first += options.choices_per_prompt) {
    std::vector<size_t> choices(options.choices_per_prompt);
    std::iota(choices.begin(), choices.end(), first);
    if (options.returned_per_prompt < options.choices_per_prompt) {
      std::stable_sort(choices.begin(), choices.end(),
                       [&](size_t a, size_t b) { return mean_logprob(wholes[a]) > mean_logprob(wholes[b]); });
    }
    returned.insert(returned.end(), choices.begin(), choices.begin() + options.returned_per_prompt);
  }
  return returned;
}

}  // namespace

OpenAiOptions openai_options(const std::string& id_prefix, const std::string& object,
                             const ValidatedRequest& request, const ModelInfo& model,
                             const StreamOptions& stream) {
  const auto unix_time = std::chrono::system_clock::now().time_since_epoch();
  AnswerHead head{.id = id_prefix + request.request_id,
                  .object = object,
                  .created = std::chrono::duration_cast<std::chrono::seconds>(unix_time).count(),
                  .model = model.name,
                  .backend = model.backend,
                  .seed = request.sampling.seed};
  return {.head = std::move(head),
          .request_id = request.request_id,
          .choices_per_prompt = request.num_choices,
          .returned_per_prompt = request.num_choices,
          .stream = stream};
}

OpenAiCall::OpenAiCall(ServiceContext& context, std::shared_ptr<HttpResponder> responder,
                       OpenAiOptions options)
    : GenerationCall(context, kApi, std::move(responder)),
      options_(std::move(options)),
      chunk_head_(json_text(answer_object(options_.head))) {
  chunk_head_.back() = ',';  // in place of the closing brace
}

void OpenAiCall::on_piece(size_t prompt, Piece piece) {
  piece.index += static_cast<uint32_t>(prompt) * options_.choices_per_prompt;
  if (options_.stream.stream) {
    for (const json::object& choice : chunk_choices(std::move(piece))) send_chunk(&choice, nullptr);
    return;
  }
  if (wholes_.size() <= piece.index) wholes_.resize(piece.index + 1);
  Piece& whole = wholes_[piece.index];
  append(whole, std::move(piece));
}

void OpenAiCall::on_done(const GenerationUsage& usage) {
  if (!options_.stream.stream) return send_whole(usage);
  if (options_.stream.include_usage) send_chunk(nullptr, &usage);
  send_event("[DONE]");
  responder().end_stream();
}

// Before the first event an error has an HTTP status; within the stream it is the last event.
void OpenAiCall::on_error(const absl::Status& status) {
  if (!started_) return send_error(responder(), status, options_.request_id);
  send_event(openai_error_body(status));
  responder().end_stream();
}

void OpenAiCall::send_event(const std::string& data) {
  if (!started_) {
    started_ = true;
    HttpHeaders headers = answer_headers(options_.request_id);
    headers.emplace_back("Cache-Control", "no-cache");
    responder().start_stream(200, "text/event-stream; charset=utf-8", std::move(headers));
  }
  responder().write(sse_event(data));
}

// One for nearly every token: what all have in common is written as it is.
void OpenAiCall::send_chunk(const json::object* choice, const GenerationUsage* usage) {
  std::string chunk;
  chunk.reserve(chunk_head_.size() + kChunkBytes);
  chunk += chunk_head_;
  chunk += "\"choices\":[";
  if (choice != nullptr) append_json(chunk, *choice);
  chunk += ']';
  if (options_.stream.include_usage) {
    chunk += ",\"usage\":";
    append_json(chunk, usage != nullptr ? json::value(usage_object(*usage)) : json::value(nullptr));
  }
  chunk += '}';
  send_event(chunk);
}

void OpenAiCall::send_whole(const GenerationUsage& usage) {
  json::object answer = answer_object(options_.head);
  json::array choices;
  choices.reserve(wholes_.size());
  for (const size_t index : returned_choices(wholes_, options_)) {
    json::object choice = whole_choice(std::move(wholes_[index]));
    choice["index"] = choices.size();
    choices.push_back(std::move(choice));
  }
  answer["choices"] = std::move(choices);
  answer["usage"] = usage_object(usage);
  add_members(answer);
  responder().send(200, kJson, json_text(answer), answer_headers(options_.request_id));
}

void send_openai_error(ServiceContext& context, const HttpRequest& request, HttpResponder& responder,
                       const absl::Status& status) {
  if (request.record) request.record->status = status;
  context.metrics.count_request(kApi, outcome_label(status));
  send_error(responder, status, "");
}

std::string request_id_of(const HttpRequest& request, const std::string& in_body) {
  return in_body.empty() ? request.id : in_body;
}

}  // namespace octet::router
