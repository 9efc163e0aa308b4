// PUT /generate as NeMo's server answers it (nemo_request, nemo_response). All sentences of a request run at
// the same time and do not see each other: each gets at most tokens_to_generate tokens (in NeMo's batch a
// shorter prompt may get more), and sentence i is sampled with seed + i.
#include <algorithm>
#include <boost/json/value.hpp>
#include <cmath>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "router/api/apis.h"
#include "router/api/error_mapping.h"
#include "router/api/generation_call.h"
#include "router/api/json_text.h"
#include "router/api/nemo_request.h"
#include "router/api/nemo_response.h"
#include "router/api/renamed_field.h"
#include "router/tracing/call_record.h"

namespace octet::router {
namespace {

constexpr const char* kApi = "nemo";
constexpr const char* kJson = "application/json";
constexpr const char* kNotJson =
    "Did not attempt to load JSON data because the request Content-Type was not 'application/json'.";
constexpr const char* kMalformed =
    "The browser (or proxy) sent a request that this server could not understand.";

HttpHeaders answer_headers(const ValidatedRequest& first) {
  return {{"x-request-id", first.request_id}, {"x-octet-seed", std::to_string(first.sampling.seed)}};
}

class NemoCall final : public GenerationCall {
 public:
  struct Format {
    std::vector<std::string> end_texts;
    bool logprobs = false;
    HttpHeaders headers;
  };

  NemoCall(ServiceContext& context, std::shared_ptr<HttpResponder> responder, Format format,
           std::vector<NemoSentence> sentences)
      : GenerationCall(context, kApi, std::move(responder)),
        format_(std::move(format)),
        sentences_(std::move(sentences)) {
    for (const std::string& text : format_.end_texts) max_end_bytes_ = std::max(max_end_bytes_, text.size());
    tails_.reserve(sentences_.size());
    for (const NemoSentence& sentence : sentences_) tails_.push_back(tail_of(sentence.prompt));
  }

 private:
  void on_prompt_logprobs(size_t prompt, std::vector<TokenLogprob> logprobs) override {
    for (const TokenLogprob& token : logprobs) sentences_[prompt].logprobs.push_back(token.logprob);
  }

  void on_piece(size_t prompt, Piece piece) override {
    // A half answer would look like a whole one.
    if (piece.finish == FinishReason::kDeadline || piece.finish == FinishReason::kCancelled) {
      return fail(absl::DeadlineExceededError("the request's time is over"));
    }
    NemoSentence& sentence = sentences_[prompt];
    for (size_t i = 0; i < piece.tokens.size(); ++i) {
      sentence.tokens.push_back(piece.tokens[i]);
      if (format_.logprobs) sentence.logprobs.push_back(piece.logprobs[i].logprob);
      if (ends_text(tails_[prompt], piece.tokens[i])) return stop(prompt);
    }
  }

  void on_done(const GenerationUsage&) override {
    responder().send(200, kJson, nemo_answer(sentences_, context().tokenizer, format_.logprobs),
                     format_.headers);
  }

  void on_error(const absl::Status& status) override {
    HttpHeaders headers = format_.headers;
    for (auto& header : error_headers(status)) headers.push_back(std::move(header));
    responder().send(http_status(status), kJson, nemo_failure(std::string(status.message())),
                     std::move(headers));
  }

  // As much of a text's end as an end string may cover.
  std::string tail_of(const std::string& text) const {
    return text.substr(text.size() - std::min(text.size(), max_end_bytes_));
  }

  // Whether the sentence ends with an end string once the token is added.
  bool ends_text(std::string& tail, TokenId token) {
    if (format_.end_texts.empty()) return false;
    tail += context().tokenizer->bytes(token);
    tail = tail_of(tail);
    return std::any_of(format_.end_texts.begin(), format_.end_texts.end(),
                       [&](const std::string& text) { return tail.ends_with(text); });
  }

  const Format format_;
  size_t max_end_bytes_ = 0;
  std::vector<NemoSentence> sentences_;
  std::vector<std::string> tails_;  // [num_sentences]
};

// As Flask decides it.
bool is_json(std::string_view content_type) {
  const std::string type(
      absl::StripAsciiWhitespace(absl_view(content_type.substr(0, content_type.find(';')))));
  return absl::EqualsIgnoreCase(type, "application/json") ||
         (absl::StartsWithIgnoreCase(type, "application/") && absl::EndsWithIgnoreCase(type, "+json"));
}

FieldNames nemo_field_names(const std::string& sentence) {
  return {{"prompt", sentence},
          {"max_tokens", "tokens_to_generate"},
          {"min_tokens", "min_tokens_to_generate"},
          {"stop_token_ids", "end_strings"},
          {"stop", "end_strings"},
          {"seed", "random_seed"}};
}

absl::StatusOr<std::vector<ValidatedRequest>> validate_all(const NemoRequest& parsed, const NemoEnd& end,
                                                           const HttpRequest& http_request,
                                                           const ValidationContext& validation) {
  const Time arrival = now();
  std::vector<ValidatedRequest> requests;
  for (const std::string& sentence : parsed.sentences) {
    RequestDraft draft = nemo_draft(parsed, end);
    draft.prompt = sentence;
    draft.tenant = tenant_of(http_request);
    draft.record = http_request.record;
    draft.request_id = requests.empty() ? http_request.id : requests.front().request_id;
    draft.seed = requests.empty() ? parsed.random_seed : requests.front().sampling.seed + requests.size();
    absl::StatusOr<ValidatedRequest> request = validate(std::move(draft), validation, arrival);
    if (!request.ok()) {
      return renamed_field(request.status(),
                           nemo_field_names(absl::StrCat("sentences[", requests.size(), "]")));
    }
    request->suppressed_before_min_tokens = {validation.tokenizer->eos_id()};
    request->streamed = !end.texts.empty();  // these are looked for in every piece
    requests.push_back(*std::move(request));
  }
  return requests;
}

void generate(ServiceContext& context, const HttpRequest& request, std::shared_ptr<HttpResponder> responder) {
  const auto answer = [&](int http, const absl::Status& status, std::string body) {
    if (request.record) request.record->status = status;
    context.metrics.count_request(kApi, outcome_label(status));
    responder->send(http, kJson, std::move(body), error_headers(status));
  };
  const auto invalid = absl::InvalidArgumentError("");
  if (!is_json(request.header("content-type"))) return answer(415, invalid, nemo_failure(kNotJson));
  const auto body = parse_json(request.body);
  if (!body.ok()) return answer(400, invalid, nemo_failure(kMalformed));
  const auto parsed = parse_nemo_request(*body);
  if (!parsed.ok()) return answer(400, invalid, nemo_refusal(std::string(parsed.status().message())));
  const auto validation = validation_context(context);
  if (!validation.ok()) {
    return answer(503, validation.status(), nemo_failure(std::string(validation.status().message())));
  }
  NemoEnd end = resolve_end_strings(parsed->end_strings, *context.tokenizer);
  auto requests = validate_all(*parsed, end, request, *validation);
  if (!requests.ok()) {
    return answer(http_status(requests.status()), requests.status(),
                  nemo_refusal(std::string(requests.status().message())));
  }

  std::vector<NemoSentence> sentences;
  for (size_t i = 0; i < requests->size(); ++i) {
    const std::vector<TokenId>& prompt = (*requests)[i].prompt;
    sentences.push_back({.prompt = parsed->sentences[i],
                         .tokens = prompt,
                         .num_prompt_tokens = prompt.size(),
                         .logprobs = {}});
  }
  NemoCall::Format format{.end_texts = std::move(end.texts),
                          .logprobs = parsed->compute_logprob,
                          .headers = answer_headers(requests->front())};
  std::make_shared<NemoCall>(context, std::move(responder), std::move(format), std::move(sentences))
      ->run(*std::move(requests));
}

}  // namespace

void add_nemo_routes(HttpServer::Routes& routes, ServiceContext& context) {
  const auto handler = [&context](const HttpRequest& request, std::shared_ptr<HttpResponder> responder) {
    generate(context, request, std::move(responder));
  };
  routes["/generate"] = {.methods = {{"PUT", handler}}, .api = kApi, .operation = "text_completion"};
}

}  // namespace octet::router
