// Makes the record of each call, and hands it on when the call is over.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "router/tracing/call_record.h"

namespace octet::router {

// From any thread. Outlives its records, like the sinks.
class CallRecorder {
 public:
  struct Options {
    bool traces = false;  // whether calls get a span
    double sample_ratio = 1;
  };
  CallRecorder(const Options& options, std::vector<CallSink*> sinks)
      : options_(options), sinks_(std::move(sinks)) {}

  // A call that has just arrived, with what came in its headers. All that have a part in it share the record;
  // when the last lets go of it the sinks take it.
  std::shared_ptr<CallRecord> begin(CallOrigin origin, std::string_view traceparent,
                                    std::string_view tracestate) const;

 private:
  void finish(std::unique_ptr<CallRecord> record) const;

  const Options options_;
  const std::vector<CallSink*> sinks_;
};

}  // namespace octet::router
