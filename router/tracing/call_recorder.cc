#include "router/tracing/call_recorder.h"

#include <utility>

namespace octet::router {

std::shared_ptr<CallRecord> CallRecorder::begin(CallOrigin origin, std::string_view traceparent,
                                                std::string_view tracestate) const {
  std::shared_ptr<CallRecord> record(new CallRecord,
                                     [this](CallRecord* over) { finish(std::unique_ptr<CallRecord>(over)); });
  record->origin = std::move(origin);
  record->parent = parse_trace_context(traceparent, tracestate);
  if (options_.traces) record->span = make_span(record->parent, options_.sample_ratio);
  return record;
}

void CallRecorder::finish(std::unique_ptr<CallRecord> record) const {
  record->end(now());
  const std::shared_ptr<const CallRecord> shared(std::move(record));
  for (CallSink* sink : sinks_) sink->take(shared);
}

}  // namespace octet::router
