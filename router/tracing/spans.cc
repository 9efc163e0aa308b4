#include "router/tracing/spans.h"

#include <algorithm>
#include <array>
#include <utility>

namespace octet::router {
namespace {

namespace otlp = opentelemetry::proto;
using otlp::common::v1::AnyValue;
using otlp::trace::v1::Span;

// Adds attributes to a span, or to a resource.
class Attributes {
 public:
  explicit Attributes(google::protobuf::RepeatedPtrField<otlp::common::v1::KeyValue>& out) : out_(out) {}

  void text(const char* name, const std::string& value) {
    if (!value.empty()) add(name).set_string_value(value);
  }
  void integer(const char* name, int64_t value) { add(name).set_int_value(value); }
  void number(const char* name, double value) { add(name).set_double_value(value); }
  void texts(const char* name, const std::vector<std::string>& values) {
    if (values.empty()) return;
    auto& list = *add(name).mutable_array_value();
    for (const std::string& value : values) list.add_values()->set_string_value(value);
  }

 private:
  AnyValue& add(const char* name) {
    auto& attribute = *out_.Add();
    attribute.set_key(name);
    return *attribute.mutable_value();
  }

  google::protobuf::RepeatedPtrField<otlp::common::v1::KeyValue>& out_;
};

std::string bytes_of(std::span<const uint8_t> id) {
  return {id.begin(), id.end()};
}

// The conventions' server errors: what a client did wrong, or a full queue, is none.
bool is_server_error(const CallRecord& record) {
  constexpr std::array kServerErrors = {absl::StatusCode::kUnknown,       absl::StatusCode::kDeadlineExceeded,
                                        absl::StatusCode::kUnimplemented, absl::StatusCode::kInternal,
                                        absl::StatusCode::kUnavailable,   absl::StatusCode::kDataLoss};
  return record.http_status >= 500 ||
         std::find(kServerErrors.begin(), kServerErrors.end(), record.status.code()) != kServerErrors.end();
}

Span make_span(const TraceContext& context, const SpanId& id, const std::string& name) {
  constexpr uint32_t kSampledFlag = 1;
  Span span;
  span.set_trace_id(bytes_of(context.trace_id));
  span.set_span_id(bytes_of(id));
  span.set_trace_state(context.state);
  span.set_flags(context.sampled ? kSampledFlag : 0);
  span.set_name(name);
  return span;
}

void describe_call(const CallRecord& record, Span& span) {
  Attributes attributes(*span.mutable_attributes());
  const CallOrigin& origin = record.origin;
  if (origin.api == "grpc") {
    attributes.text("rpc.system.name", "grpc");
    attributes.text("rpc.method", origin.path.substr(1));
    attributes.text("rpc.response.status_code", absl::StatusCodeToString(record.status.code()));
  } else {
    attributes.text("http.request.method", origin.method);
    attributes.text("url.path", origin.path);
    attributes.integer("http.response.status_code", record.http_status);
  }
  attributes.text("client.address", origin.client.substr(0, origin.client.rfind(':')));
  attributes.text("error.type", record.error_type());
  attributes.text("octet.error.reason", record.error_reason());
  attributes.text("octet.request.id", origin.request_id);
  attributes.text("octet.tenant", record.tenant);
}

void describe_generation(const CallRecord& record, Span& span) {
  Attributes attributes(*span.mutable_attributes());
  attributes.text("gen_ai.operation.name", record.origin.operation);
  attributes.text("gen_ai.provider.name", "octet");
  attributes.text("gen_ai.request.model", record.model);
  attributes.text("gen_ai.response.model", record.model);
  attributes.text("gen_ai.response.id", record.response_id);
  if (record.parameters) {
    attributes.integer("gen_ai.request.max_tokens", record.parameters->max_tokens);
    attributes.number("gen_ai.request.temperature", record.parameters->temperature);
    attributes.number("gen_ai.request.top_p", record.parameters->top_p);
    attributes.integer("gen_ai.request.top_k", record.parameters->top_k);
    attributes.integer("gen_ai.request.seed", static_cast<int64_t>(record.parameters->seed));
    attributes.integer("gen_ai.request.choice.count", record.parameters->num_choices);
  }
  if (record.generation) {
    attributes.integer("gen_ai.usage.input_tokens", record.generation->prompt_tokens);
    attributes.integer("gen_ai.usage.output_tokens", record.generation->output_tokens);
    attributes.integer("gen_ai.usage.cache_read.input_tokens", record.generation->cached_tokens);
    attributes.texts("gen_ai.response.finish_reasons", record.generation->finish_reasons);
  }
}

Span call_span(const CallRecord& record) {
  const std::string name =
      record.model.empty() ? record.origin.operation : record.origin.operation + " " + record.model;
  Span span = make_span(*record.span, record.span->span_id, name);
  if (record.parent) span.set_parent_span_id(bytes_of(record.parent->span_id));
  span.set_kind(Span::SPAN_KIND_SERVER);
  span.set_start_time_unix_nano(record.unix_nanoseconds(record.arrival));
  span.set_end_time_unix_nano(record.unix_nanoseconds(record.end_time.value_or(record.arrival)));
  describe_generation(record, span);
  describe_call(record, span);
  if (is_server_error(record)) span.mutable_status()->set_code(otlp::trace::v1::Status::STATUS_CODE_ERROR);
  return span;
}

}  // namespace

size_t num_spans(const CallRecord& record) {
  if (!record.generation) return 1;
  return 2 + (record.generation->start ? 1 : 0) + (record.generation->first_token ? 1 : 0);
}

std::vector<Span> spans_of(const CallRecord& record) {
  std::vector<Span> spans = {call_span(record)};
  const auto add_part = [&](const char* name, Time begin, Time end) {
    Span part = make_span(*record.span, random_span_id(), name);
    part.set_parent_span_id(bytes_of(record.span->span_id));
    part.set_kind(Span::SPAN_KIND_INTERNAL);
    part.set_start_time_unix_nano(record.unix_nanoseconds(begin));
    part.set_end_time_unix_nano(record.unix_nanoseconds(end));
    spans.push_back(std::move(part));
  };
  if (!record.generation) return spans;
  const Time end = record.end_time.value_or(record.arrival);
  const std::optional<Time> start = record.generation->start;
  const std::optional<Time> first_token = record.generation->first_token;
  add_part("octet.queue", record.arrival, start.value_or(end));
  if (start) add_part("octet.prefill", *start, first_token.value_or(end));
  if (first_token) add_part("octet.decode", *first_token, end);
  return spans;
}

otlp::collector::trace::v1::ExportTraceServiceRequest export_request(std::vector<Span> spans,
                                                                     const std::string& service_name) {
  otlp::collector::trace::v1::ExportTraceServiceRequest request;
  auto& of_resource = *request.add_resource_spans();
  Attributes(*of_resource.mutable_resource()->mutable_attributes()).text("service.name", service_name);
  auto& of_scope = *of_resource.add_scope_spans();
  of_scope.mutable_scope()->set_name("octet.router");
  for (Span& span : spans) *of_scope.add_spans() = std::move(span);
  return request;
}

}  // namespace octet::router
