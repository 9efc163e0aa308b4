// traceparent and tracestate as clients send them: what is taken is what is passed on.
#include "router/tracing/trace_context.h"

#include "base/check.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace octet::router;
  octet::fuzz::Input input(data, size);
  const std::string_view traceparent = input.line();
  const auto context = parse_trace_context(traceparent, input.rest());
  if (!context) return 0;
  OCTET_CHECK(context->state.size() <= 512, context->state.size());
  const std::string written = traceparent_of(*context);
  OCTET_CHECK(written.size() == 55 && written.substr(3, 49) == traceparent.substr(3, 49), written);
  const auto again = parse_trace_context(written, context->state);
  OCTET_CHECK(again && again->state == context->state && again->sampled == context->sampled, written);
  return 0;
}
