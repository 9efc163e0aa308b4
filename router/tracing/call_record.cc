#include "router/tracing/call_record.h"

#include <algorithm>

#include "base/status.h"

namespace octet::router {
namespace {

std::optional<Time> earlier(const std::optional<Time>& a, const std::optional<Time>& b) {
  return a && b ? std::min(a, b) : a ? a : b;
}

}  // namespace

void CallRecord::add(const GenerationTrack& track) {
  if (!generation) generation.emplace();
  generation->start = earlier(generation->start, track.start);
  generation->first_token = earlier(generation->first_token, track.first_token);
  generation->prompt_tokens += track.prompt_tokens;
  generation->cached_tokens += track.cached_tokens;
  generation->output_tokens += track.output_tokens;
  generation->finish_reasons.insert(generation->finish_reasons.end(), track.finish_reasons.begin(),
                                    track.finish_reasons.end());
}

uint64_t CallRecord::unix_nanoseconds(Time time) const {
  const auto since_1970 = unix_arrival.time_since_epoch() + (time - arrival);
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(since_1970).count());
}

std::string CallRecord::error_type() const {
  if (!status.ok()) return absl::StatusCodeToString(status.code());
  return http_status >= 400 ? std::to_string(http_status) : "";
}

std::string CallRecord::error_reason() const {
  if (auto quota = quota_of(status)) return *std::move(quota);
  return field_of(status).value_or("");
}

const TraceContext* context_of(const CallRecord& record) {
  if (record.span) return &*record.span;
  return record.parent ? &*record.parent : nullptr;
}

}  // namespace octet::router
