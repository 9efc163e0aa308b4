#include "router/api/openai_completions.h"

#include <algorithm>
#include <boost/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "router/api/json_text.h"
#include "router/api/openai_call.h"
#include "router/api/openai_request.h"
#include "router/api/openai_response.h"
#include "router/tracing/call_record.h"

namespace octet::router {
namespace {

namespace json = boost::json;

constexpr uint32_t kDefaultMaxTokens = 16;

// A prompt as the answer needs it.
struct AnsweredPrompt {
  std::string echo;  // the prompt's text when it is given back
  TokenId first_token = 0;
  std::vector<TokenLogprob> logprobs;  // of the tokens after the first, when asked for
};

class CompletionCall final : public OpenAiCall {
 public:
  struct Format {
    bool echo = false;
    std::optional<uint32_t> logprobs;
    std::optional<uint32_t> prompt_logprobs;
  };

  CompletionCall(ServiceContext& context, std::shared_ptr<HttpResponder> responder,
                 const OpenAiOptions& options, Format format, std::vector<AnsweredPrompt> prompts)
      : OpenAiCall(context, std::move(responder), options),
        format_(format),
        prompts_(std::move(prompts)),
        choices_(prompts_.size() * options.choices_per_prompt) {}

 private:
  struct ChoiceState {
    bool begun = false;
    uint64_t text_offset = 0;
  };

  void on_prompt_logprobs(size_t prompt, std::vector<TokenLogprob> logprobs) override {
    prompts_[prompt].logprobs = std::move(logprobs);
  }

  json::object whole_choice(Piece whole) override { return choice(std::move(whole)); }

  std::vector<json::object> chunk_choices(Piece piece) override {
    const bool says_something = !piece.text.empty() || piece.finish ||
                                (format_.logprobs && !piece.tokens.empty()) ||
                                (format_.echo && !choices_[piece.index].begun);
    if (!says_something) return {};
    std::vector<json::object> choices;
    choices.push_back(choice(std::move(piece)));
    return choices;
  }

  // The first of a choice begins with the prompt if that is to be echoed.
  json::object choice(Piece piece) {
    ChoiceState& state = choices_[piece.index];
    const AnsweredPrompt& prompt = prompts_[prompt_of(piece.index)];
    const bool begins = !std::exchange(state.begun, true);
    json::object object{{"index", piece.index}, {"text", begins ? prompt.echo + piece.text : piece.text}};
    object["logprobs"] =
        format_.logprobs ? logprobs(prompt, piece, begins, state.text_offset) : json::value(nullptr);
    object["finish_reason"] = finish_reason_value(piece.finish);
    object["stop_reason"] = stop_reason_value(piece);
    if (format_.prompt_logprobs && begins) {
      object["prompt_logprobs"] =
          prompt_logprobs_array(*context().tokenizer, prompt.logprobs, *format_.prompt_logprobs);
    }
    return object;
  }

  json::value logprobs(const AnsweredPrompt& prompt, const Piece& piece, bool begins, uint64_t& text_offset) {
    CompletionLogprobs lists(*context().tokenizer, *format_.logprobs, text_offset);
    if (begins && format_.echo) {
      lists.add_first(prompt.first_token);
      for (const TokenLogprob& token : prompt.logprobs) lists.add(token);
    }
    for (const TokenLogprob& token : piece.logprobs) lists.add(token);
    text_offset = lists.text_offset();
    return lists.take();
  }

  const Format format_;
  std::vector<AnsweredPrompt> prompts_;  // [num_prompts]
  std::vector<ChoiceState> choices_;     // [num_prompts * choices_per_prompt]
};

// Every prompt as a request of its own. Errors: of the first prompt that is refused.
absl::StatusOr<std::vector<ValidatedRequest>> validate_all(const CompletionRequest& parsed,
                                                           const ValidationContext& validation) {
  const int64_t num_prompts = static_cast<int64_t>(parsed.prompts.size());
  const int64_t max_choices = validation.limits.max_choices;
  if (num_prompts > max_choices || parsed.draft.n.value_or(1) > max_choices / num_prompts) {
    return invalid_field(parsed.num_returned ? "best_of" : "n",
                         absl::StrCat("must be at most ", max_choices, " choices over all prompts, got ",
                                      parsed.draft.n.value_or(1), " for ", num_prompts, " prompts"));
  }
  const Time arrival = now();
  std::vector<ValidatedRequest> requests;
  for (const Prompt& prompt : parsed.prompts) {
    RequestDraft draft = parsed.draft;
    draft.prompt = prompt;
    if (!requests.empty()) {
      draft.request_id = requests.front().request_id;
      if (requests.front().constraint) draft.automaton = requests.front().constraint->automaton;
      draft.seed = requests.front().sampling.seed + requests.size();
    }
    absl::StatusOr<ValidatedRequest> request = validate(std::move(draft), validation, arrival);
    if (!request.ok()) return renamed_field(request.status(), openai_field_names());
    if (!parsed.draft.max_tokens) {
      request->max_tokens = std::min(request->max_tokens, std::max(kDefaultMaxTokens, request->min_tokens));
    }
    request->streamed = parsed.stream.stream;
    requests.push_back(*std::move(request));
  }
  return requests;
}

std::vector<AnsweredPrompt> answered_prompts(const CompletionRequest& parsed,
                                             const std::vector<ValidatedRequest>& requests,
                                             const Tokenizer& tokenizer) {
  std::vector<AnsweredPrompt> prompts(requests.size());
  for (size_t i = 0; i < prompts.size(); ++i) {
    prompts[i].first_token = requests[i].prompt.front();
    if (!parsed.echo) continue;
    const auto* text = std::get_if<std::string>(&parsed.prompts[i]);
    prompts[i].echo = text != nullptr ? *text : tokenizer.decode(requests[i].prompt);
  }
  return prompts;
}

}  // namespace

void serve_completions(ServiceContext& context, const HttpRequest& request,
                       std::shared_ptr<HttpResponder> responder) {
  const auto refuse = [&](const absl::Status& status) {
    send_openai_error(context, request, *responder, status);
  };
  const auto body = parse_json_object(request.body);
  if (!body.ok()) return refuse(body.status());
  auto parsed = parse_completion_request(*body);
  if (!parsed.ok()) return refuse(parsed.status());
  const auto validation = validation_context(context);
  if (!validation.ok()) return refuse(validation.status());
  parsed->draft.request_id = request_id_of(request, parsed->draft.request_id);
  parsed->draft.tenant = tenant_of(request);
  parsed->draft.record = request.record;
  auto requests = validate_all(*parsed, *validation);
  if (!requests.ok()) return refuse(requests.status());

  const ValidatedRequest& first = requests->front();
  OpenAiOptions options =
      openai_options("cmpl-", "text_completion", first, validation->model, parsed->stream);
  if (request.record) request.record->response_id = options.head.id;
  CompletionCall::Format format{.echo = parsed->echo, .logprobs = {}, .prompt_logprobs = {}};
  if (parsed->num_returned) options.returned_per_prompt = static_cast<uint32_t>(*parsed->num_returned);
  if (parsed->logprobs) format.logprobs = first.logprobs;
  if (parsed->prompt_logprobs) format.prompt_logprobs = static_cast<uint32_t>(*parsed->prompt_logprobs);
  std::vector<AnsweredPrompt> prompts = answered_prompts(*parsed, *requests, *context.tokenizer);
  std::make_shared<CompletionCall>(context, std::move(responder), options, format, std::move(prompts))
      ->run(*std::move(requests));
}

}  // namespace octet::router
