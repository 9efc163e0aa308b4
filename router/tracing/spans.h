// A call as OpenTelemetry's spans: one of the call, named and described by the semantic conventions of
// generative AI, HTTP and RPC; below it what it waited for: "octet.queue", "octet.prefill" (to the first
// token) and "octet.decode".
#pragma once

#include <string>
#include <vector>

#include "opentelemetry/proto/collector/trace/v1/trace_service.pb.h"
#include "router/tracing/call_record.h"

namespace octet::router {

// Of a call that is over and has a span.
std::vector<opentelemetry::proto::trace::v1::Span> spans_of(const CallRecord& record);

// How many these are.
size_t num_spans(const CallRecord& record);

// A request that holds these spans of a service of this name.
opentelemetry::proto::collector::trace::v1::ExportTraceServiceRequest export_request(
    std::vector<opentelemetry::proto::trace::v1::Span> spans, const std::string& service_name);

}  // namespace octet::router
