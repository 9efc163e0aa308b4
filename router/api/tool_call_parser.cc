#include "router/api/tool_call_parser.h"

#include <algorithm>
#include <boost/json.hpp>
#include <utility>

#include "router/api/json_text.h"

namespace octet::router {
namespace {

namespace json = boost::json;

constexpr std::string_view kWhiteSpace = " \t\r\n";

// How many bytes at the end of text may begin the marker.
size_t num_waiting(std::string_view text, std::string_view marker) {
  size_t length = std::min(text.size(), marker.size() - 1);
  while (length > 0 && !text.ends_with(marker.substr(0, length))) --length;
  return length;
}

std::optional<ToolCall> parse_call(std::string_view text) {
  const auto value = parse_json(text);
  if (!value.ok() || !value->is_object()) return std::nullopt;
  const json::object& object = value->get_object();
  const json::value* name = object.if_contains("name");
  const json::value* arguments = object.if_contains("arguments");
  if (name == nullptr || !name->is_string() || arguments == nullptr || !arguments->is_object()) {
    return std::nullopt;
  }
  return ToolCall{.name = std::string(name->get_string()),
                  .arguments = json_text(*arguments, JsonStyle::kSpaced)};
}

}  // namespace

ToolCallParser::Output ToolCallParser::add(std::string_view text) {
  pending_.append(text);
  Output output;
  while (step(output)) {
  }
  return output;
}

ToolCallParser::Output ToolCallParser::finish() {
  Output output;
  const std::string rest = std::exchange(pending_, {});
  if (in_call_) {
    give_call(std::string_view(rest).substr(kToolCallBegin.size()), rest, output);
  } else {
    give_text(rest, output);
  }
  if (!any_calls_) output.text += white_space_;
  return output;
}

bool ToolCallParser::step(Output& output) {
  if (in_call_) {
    const size_t end = pending_.find(kToolCallEnd);
    if (end == std::string::npos) return false;
    const std::string whole = pending_.substr(0, end + kToolCallEnd.size());
    pending_.erase(0, whole.size());
    in_call_ = false;
    give_call(std::string_view(whole).substr(kToolCallBegin.size(), end - kToolCallBegin.size()), whole,
              output);
    return true;
  }
  const size_t begin = pending_.find(kToolCallBegin);
  in_call_ = begin != std::string::npos;
  const size_t num_text = in_call_ ? begin : pending_.size() - num_waiting(pending_, kToolCallBegin);
  give_text(std::string_view(pending_).substr(0, num_text), output);
  pending_.erase(0, num_text);
  return in_call_;
}

void ToolCallParser::give_text(std::string_view text, Output& output) {
  const size_t last = text.find_last_not_of(kWhiteSpace);
  if (last == std::string_view::npos) {
    white_space_ += text;
    return;
  }
  output.text += white_space_;
  output.text += text.substr(0, last + 1);
  white_space_ = text.substr(last + 1);
}

void ToolCallParser::give_call(std::string_view inside, std::string_view whole, Output& output) {
  std::optional<ToolCall> call = parse_call(inside);
  if (!call) return give_text(whole, output);
  white_space_.clear();
  any_calls_ = true;
  output.calls.push_back(*std::move(call));
}

}  // namespace octet::router
