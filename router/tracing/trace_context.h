// W3C Trace Context (https://www.w3.org/TR/trace-context/): which trace a call belongs to, and whether it is
// recorded.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace octet::router {

using TraceId = std::array<uint8_t, 16>;
using SpanId = std::array<uint8_t, 8>;

struct TraceContext {
  TraceId trace_id{};  // not all zero
  SpanId span_id{};    // of the span that a call was made in; not all zero
  bool sampled = false;
  std::string state;  // the header tracestate: what the systems on the way noted; may be empty
};

// The caller's span. Nothing for a traceparent that the specification has ignored; one of a later version is
// read as far as this one knows it. A tracestate that is broken counts as empty, and of a long one whole
// entries are left out from the end.
std::optional<TraceContext> parse_trace_context(std::string_view traceparent, std::string_view tracestate);

// The header traceparent.
std::string traceparent_of(const TraceContext& context);

// A span of this process: a child of the parent, which also says whether it is recorded; without one the root
// of a new trace, recorded with this probability.
TraceContext make_span(const std::optional<TraceContext>& parent, double sample_ratio);
// Whether a new trace is recorded: the same everywhere for one trace and ratio.
bool is_sampled(const TraceId& trace_id, double sample_ratio);

SpanId random_span_id();

// Lower-case hexadecimal digits.
std::string hex(std::span<const uint8_t> bytes);

}  // namespace octet::router
