// Bodies of the HTTP APIs: read or refused, and what is read is within the limits. JSON that was written is
// read back the same.
#include <algorithm>
#include <boost/json.hpp>
#include <cmath>
#include <limits>
#include <string>

#include "base/check.h"
#include "router/api/error_mapping.h"
#include "router/api/json_text.h"
#include "router/api/nemo_request.h"
#include "router/api/openai_request.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/nano.h"

namespace octet::router {
namespace {

constexpr Time kNow = Time(std::chrono::hours(1000));

// Boost.JSON 1.81 may read a number's neighbour.
bool same(const boost::json::value& a, const boost::json::value& b) {
  if (a.is_double() && b.is_double()) {
    return std::abs(a.get_double() - b.get_double()) <=
           1e-15 * std::abs(a.get_double()) + std::numeric_limits<double>::min();
  }
  if (a.is_array() && b.is_array()) {
    return std::equal(a.get_array().begin(), a.get_array().end(), b.get_array().begin(), b.get_array().end(),
                      same);
  }
  if (a.is_object() && b.is_object()) {
    return a.get_object().size() == b.get_object().size() &&
           std::all_of(a.get_object().begin(), a.get_object().end(), [&](const auto& member) {
             const auto* other = b.get_object().if_contains(member.key());
             return other != nullptr && same(member.value(), *other);
           });
  }
  return a == b;
}

void check_round_trip(const boost::json::value& value) {
  for (const JsonStyle style : {JsonStyle::kPlain, JsonStyle::kSortedAscii, JsonStyle::kSpaced}) {
    const std::string text = json_text(value, style);
    const auto again = parse_json(text);
    OCTET_CHECK(again.ok(), again.status(), text);
    OCTET_CHECK(same(*again, value), text);
  }
}

void check_refusal(const absl::Status& status) {
  OCTET_CHECK(http_status(status) == 400 || http_status(status) == 404, status);
  OCTET_CHECK(parse_json(openai_error_body(status)).ok());
}

void chat(const boost::json::object& body) {
  auto request = parse_chat_request(body);
  if (!request.ok()) return check_refusal(request.status());
  fuzz::check_validated(validate(std::move(request->draft), fuzz::nano_context(), kNow));
}

void completion(const boost::json::object& body) {
  auto request = parse_completion_request(body);
  if (!request.ok()) return check_refusal(request.status());
  OCTET_CHECK(!request->prompts.empty());
  for (const Prompt& prompt : request->prompts) {
    RequestDraft draft = request->draft;
    draft.prompt = prompt;
    fuzz::check_validated(validate(std::move(draft), fuzz::nano_context(), kNow));
  }
}

void nemo(const boost::json::value& body) {
  const auto request = parse_nemo_request(body);
  if (!request.ok()) return check_refusal(request.status());
  const NemoEnd end = resolve_end_strings(request->end_strings, *fuzz::nano_tokenizer());
  OCTET_CHECK(!request->sentences.empty() && request->sentences.size() <= 128);
  RequestDraft draft = nemo_draft(*request, end);
  draft.prompt = request->sentences[0];
  fuzz::check_validated(validate(std::move(draft), fuzz::nano_context(), kNow));
}

}  // namespace
}  // namespace octet::router

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace octet::router;
  octet::fuzz::Input input(data, size);
  const uint32_t api = input.below(3);
  const auto body = parse_json(input.rest());
  if (!body.ok()) {
    check_refusal(body.status());
    return 0;
  }
  check_round_trip(*body);
  if (api == 0) {
    nemo(*body);
  } else if (body->is_object()) {
    api == 1 ? chat(body->get_object()) : completion(body->get_object());
  }
  return 0;
}
