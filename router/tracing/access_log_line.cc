#include "router/tracing/access_log_line.h"

#include <boost/json.hpp>
#include <cmath>
#include <ctime>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"

namespace octet::router {
namespace {

namespace json = boost::json;

// "2026-01-31T12:00:00.123Z"
std::string utc(std::chrono::system_clock::time_point time) {
  const auto ms = std::chrono::floor<std::chrono::milliseconds>(time.time_since_epoch()).count();
  const std::time_t whole = ms / 1000;
  std::tm parts{};
  gmtime_r(&whole, &parts);
  return absl::StrFormat("%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", parts.tm_year + 1900, parts.tm_mon + 1,
                         parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, ms % 1000);
}

// A path is whatever bytes a client sent: those that are no ASCII are written as "%E2", like in a URL.
std::string ascii(std::string_view path) {
  std::string out;
  for (const char c : path) {
    if (c >= ' ' && c <= '~') {
      out += c;
    } else {
      absl::StrAppendFormat(&out, "%%%02X", static_cast<unsigned char>(c));
    }
  }
  return out;
}

// Whole microseconds.
double rounded(Duration duration) {
  return std::round(seconds(duration) * 1e6) / 1e6;
}

void set_text(json::object& line, std::string_view name, const std::string& text) {
  if (!text.empty()) line[name] = text;
}

void add_generation(const CallRecord& record, const GenerationTrack& generation, json::object& line) {
  line["prompt_tokens"] = generation.prompt_tokens;
  line["cached_tokens"] = generation.cached_tokens;
  line["output_tokens"] = generation.output_tokens;
  line["finish_reasons"] = json::value_from(generation.finish_reasons);
  if (generation.start) line["queue_seconds"] = rounded(*generation.start - record.arrival);
  if (generation.first_token) {
    line["time_to_first_token_seconds"] = rounded(*generation.first_token - record.arrival);
  }
}

}  // namespace

std::string access_log_line(const CallRecord& record) {
  json::object line;
  line["time"] = utc(record.unix_arrival);
  line["request_id"] = record.origin.request_id;
  if (const TraceContext* context = context_of(record)) line["trace_id"] = hex(context->trace_id);
  if (record.span) line["span_id"] = hex(record.span->span_id);
  set_text(line, "api", record.origin.api);
  set_text(line, "method", ascii(record.origin.method));
  line["path"] = ascii(record.origin.path);
  line["client"] = record.origin.client;
  set_text(line, "tenant", record.tenant);
  set_text(line, "model", record.model);
  if (record.origin.api == "grpc") {
    line["grpc_status"] = absl::StatusCodeToString(record.status.code());
  } else {
    line["http_status"] = record.http_status;
  }
  set_text(line, "error", record.error_type());
  set_text(line, "error_reason", record.error_reason());
  if (record.generation) add_generation(record, *record.generation, line);
  line["seconds"] = rounded(record.end_time.value_or(record.arrival) - record.arrival);
  return json::serialize(line);
}

}  // namespace octet::router
