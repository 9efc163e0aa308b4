#include "tools/bench/prompt_set.h"

#include <boost/json.hpp>
#include <cmath>
#include <fstream>
#include <limits>

#include "absl/strings/str_cat.h"

namespace octet::bench {
namespace {

namespace json = boost::json;

absl::Status wrong(absl::string_view key, absl::string_view must_be) {
  return absl::InvalidArgumentError(absl::StrCat(key, " must be ", must_be));
}

absl::StatusOr<std::string> text_of(absl::string_view key, const json::value& value) {
  if (!value.is_string()) return wrong(key, "a string");
  return std::string(value.get_string());
}

template <typename Integer>
absl::StatusOr<Integer> integer_of(absl::string_view key, const json::value& value, uint64_t min) {
  json::error_code ec;
  const auto number = value.is_number() ? value.to_number<Integer>(ec) : Integer();
  if (!value.is_number() || value.is_double() || ec || number < min) {
    return wrong(key, absl::StrCat("an integer from ", min, " to ", std::numeric_limits<Integer>::max()));
  }
  return number;
}

absl::StatusOr<std::vector<ChatMessage>> messages_of(const json::value& value) {
  static constexpr absl::string_view kForm = R"(a list of {"role": "...", "content": "..."}, at least one)";
  if (!value.is_array() || value.get_array().empty()) return wrong("messages", kForm);
  std::vector<ChatMessage> messages;
  for (const json::value& entry : value.get_array()) {
    const json::object* object = entry.if_object();
    const json::value* role = object ? object->if_contains("role") : nullptr;
    const json::value* content = object ? object->if_contains("content") : nullptr;
    if (!role || !role->is_string() || !content || !content->is_string() || object->size() != 2) {
      return wrong("messages", kForm);
    }
    messages.push_back({std::string(role->get_string()), std::string(content->get_string())});
  }
  return messages;
}

// Stores a good value in `field` and returns OK, or returns the error.
template <typename Field, typename Value>
absl::Status store(Field& field, absl::StatusOr<Value> value) {
  if (!value.ok()) return value.status();
  field = *std::move(value);
  return absl::OkStatus();
}

absl::Status read_key(Prompt& prompt, absl::string_view key, const json::value& value) {
  if (key == "prompt") return store(prompt.text, text_of(key, value));
  if (key == "messages") return store(prompt.messages, messages_of(value));
  if (key == "expected") return store(prompt.expected, text_of(key, value));
  if (key == "max_tokens") return store(prompt.max_tokens, integer_of<uint32_t>(key, value, 1));
  if (key == "seed") return store(prompt.seed, integer_of<uint64_t>(key, value, 0));
  if (key == "prompt_tokens") return store(prompt.prompt_tokens, integer_of<uint32_t>(key, value, 1));
  if (key == "temperature") {
    json::error_code ec;
    const double number = value.is_number() ? value.to_number<double>(ec) : -1;
    if (ec || !(number >= 0 && number <= 100)) return wrong(key, "a number from 0 to 100");
    prompt.temperature = number;
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("unknown key \"", key, "\""));
}

}  // namespace

absl::StatusOr<Prompt> parse_prompt(absl::string_view line) {
  json::error_code ec;
  json::parse_options options;
  options.max_depth = 4;
  const json::value value = json::parse({line.data(), line.size()}, ec, {}, options);
  if (ec) return absl::InvalidArgumentError(absl::StrCat("not JSON: ", ec.message()));
  if (!value.is_object()) return absl::InvalidArgumentError("not a JSON object");
  Prompt prompt;
  for (const auto& [key, entry] : value.get_object()) {
    if (absl::Status status = read_key(prompt, {key.data(), key.size()}, entry); !status.ok()) return status;
  }
  if (!prompt.text && prompt.messages.empty()) {
    return absl::InvalidArgumentError(R"(neither "prompt" nor "messages" is given)");
  }
  return prompt;
}

absl::StatusOr<std::vector<Prompt>> read_prompts(const std::string& path) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(absl::StrCat(path, ": cannot be read"));
  std::vector<Prompt> prompts;
  std::string line;
  for (uint64_t number = 1; std::getline(file, line); ++number) {
    const auto refuse = [&](absl::string_view why) {
      return absl::InvalidArgumentError(absl::StrCat(path, ":", number, ": ", why));
    };
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    if (line.size() > kMaxLineBytes) {
      return refuse(absl::StrCat(line.size(), " bytes in a line; the limit is ", kMaxLineBytes));
    }
    if (prompts.size() == kMaxPrompts) return refuse(absl::StrCat("more than ", kMaxPrompts, " prompts"));
    absl::StatusOr<Prompt> prompt = parse_prompt(line);
    if (!prompt.ok()) return refuse(prompt.status().message());
    prompt->line = number;
    prompts.push_back(*std::move(prompt));
  }
  if (file.bad()) return absl::NotFoundError(absl::StrCat(path, ": reading failed"));
  if (prompts.empty()) return absl::InvalidArgumentError(absl::StrCat(path, ": holds no prompt"));
  return prompts;
}

}  // namespace octet::bench
