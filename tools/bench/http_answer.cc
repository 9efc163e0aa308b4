#include "tools/bench/http_answer.h"

#include <boost/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace octet::bench {
namespace {

namespace json = boost::json;

constexpr size_t kMaxDetailBytes = 200;

void malformed(Answer& answer, absl::string_view what) {
  if (!answer.failure) answer.failure = Failure{"malformed answer", std::string(what)};
}

// The value at a path of object keys, or null.
const json::value* find(const json::value& value, std::initializer_list<absl::string_view> path) {
  const json::value* at = &value;
  for (const absl::string_view key : path) {
    const json::object* object = at->if_object();
    at = object ? object->if_contains({key.data(), key.size()}) : nullptr;
    if (!at) return nullptr;
  }
  return at;
}

// The first element of the array under a key, or null.
const json::value* first_of(const json::value& value, absl::string_view key) {
  const json::value* list = find(value, {key});
  const json::array* array = list ? list->if_array() : nullptr;
  return array && !array->empty() ? &array->front() : nullptr;
}

}  // namespace

std::vector<std::string> EventReader::feed(absl::string_view bytes) {
  std::vector<std::string> events;
  for (const char c : bytes) {
    if (c != '\n') {
      line_ += c;
      continue;
    }
    if (!line_.empty() && line_.back() == '\r') line_.pop_back();
    absl::string_view line = line_;
    if (line.empty() && has_data_) {
      events.push_back(std::move(data_));
      data_.clear();
      has_data_ = false;
    } else if (absl::StartsWith(line, "data:")) {
      line.remove_prefix(5);
      if (absl::StartsWith(line, " ")) line.remove_prefix(1);
      if (has_data_) data_ += '\n';
      absl::StrAppend(&data_, line);
      has_data_ = true;
    }
    line_.clear();
  }
  return events;
}

void read_openai_event(absl::string_view data, Time at, Answer& answer, bool& done) {
  if (data == "[DONE]") {
    done = true;
    return;
  }
  json::error_code ec;
  const json::value event = json::parse({data.data(), data.size()}, ec);
  if (ec) return malformed(answer, "an event is not JSON");
  if (find(event, {"error"})) {
    answer.failure = Failure{"error in stream", error_detail(data)};
    return;
  }
  if (const json::value* tokens = find(event, {"usage", "completion_tokens"}); tokens && tokens->is_int64()) {
    answer.num_tokens = static_cast<uint32_t>(tokens->get_int64());
  }
  const json::value* choice = first_of(event, "choices");
  if (!choice) return;
  const json::value* text = find(*choice, {"text"});
  if (!text) text = find(*choice, {"delta", "content"});
  if (text && text->is_string() && !text->get_string().empty()) {
    answer.text.append(text->get_string().data(), text->get_string().size());
    answer.arrivals.push_back({at});
  }
}

void read_nemo_body(absl::string_view body, const Prompt& prompt, Answer& answer) {
  json::error_code ec;
  const json::value value = json::parse({body.data(), body.size()}, ec);
  if (ec) return malformed(answer, "the body is not JSON");
  const json::value* sentence = first_of(value, "sentences");
  const json::value* token_ids = first_of(value, "token_ids");
  if (!sentence || !sentence->is_string() || !token_ids || !token_ids->is_array()) {
    return malformed(answer, "no sentences or no token_ids");
  }
  absl::string_view text(sentence->get_string().data(), sentence->get_string().size());
  if (!absl::StartsWith(text, *prompt.text))
    return malformed(answer, "the sentence does not start with the prompt");
  text.remove_prefix(prompt.text->size());
  if (absl::EndsWith(text, kNemoEndString)) text.remove_suffix(kNemoEndString.size());
  answer.text = std::string(text);
  const size_t num_tokens = token_ids->get_array().size();
  if (prompt.prompt_tokens && num_tokens >= *prompt.prompt_tokens) {
    answer.num_tokens = static_cast<uint32_t>(num_tokens - *prompt.prompt_tokens);
  }
}

std::string error_detail(absl::string_view body) {
  json::error_code ec;
  const json::value value = json::parse({body.data(), body.size()}, ec);
  absl::string_view detail = body;
  if (!ec) {
    const json::value* message = find(value, {"error", "message"});
    if (!message) message = find(value, {"message"});
    if (!message) message = &value;
    if (message->is_string()) detail = {message->get_string().data(), message->get_string().size()};
  }
  return std::string(detail.substr(0, kMaxDetailBytes));
}

}  // namespace octet::bench
