#include "router/tracing/otlp_exporter.h"

#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

namespace octet::router {
namespace {

TEST(OtlpEndpointTest, IsReadAsOpenTelemetryDefinesIt) {
  struct Case {
    const char* endpoint;
    const char* address;
    bool tls;
  };
  for (const auto& [endpoint, address, tls] :
       {Case{"http://collector:4317", "collector:4317", false},
        Case{"http://collector", "collector:4317", false}, Case{"http://10.0.0.1:99/", "10.0.0.1:99", false},
        Case{"https://collector:1", "collector:1", true}, Case{"collector:4317", "collector:4317", true},
        Case{"http://[::1]:5", "[::1]:5", false}, Case{"https://[::1]", "[::1]:4317", true}}) {
    const auto target = parse_otlp_endpoint(endpoint);
    ASSERT_TRUE(target.ok()) << endpoint << ": " << target.status();
    EXPECT_EQ(target->address, address);
    EXPECT_EQ(target->tls, tls) << endpoint;
  }
  for (const char* endpoint : {"", "http://", "http:///v1/traces", "http://a:b", "http://a:0",
                               "http://a:65536", ":4317", "http://user:password@a:1", "grpc://a:1"}) {
    EXPECT_FALSE(parse_otlp_endpoint(endpoint).ok()) << endpoint;
  }
}

// Port 1 has no listener.
TEST(OtlpExporterTest, SpansThatNobodyTakesAreCounted) {
  RouterMetrics metrics;
  const auto count = [&](const std::string& series) {
    const std::string text = prometheus::TextSerializer().Serialize(metrics.registry()->Collect());
    const size_t at = text.find("\n" + series + " ");
    return at == std::string::npos ? -1 : std::stod(text.substr(at + series.size() + 2));
  };
  const auto record = [](bool sampled, const std::string& operation) {
    auto made = std::make_shared<CallRecord>();
    made->origin.operation = operation;
    made->span = make_span(std::nullopt, sampled ? 1 : 0);
    made->add({});
    return made;
  };
  {
    const auto exporter = OtlpExporter::open({.endpoint = "http://127.0.0.1:1"}, metrics).value();
    exporter->take(record(true, "chat"));
    exporter->take(record(true, "chat"));
    exporter->take(record(false, "chat"));
    exporter->take(record(true, ""));
    exporter->take(std::make_shared<CallRecord>());
  }
  EXPECT_EQ(count("octet_dropped_spans_total{reason=\"export\"}"), 4) << "two of each of the first two";
  EXPECT_EQ(count("octet_dropped_spans_total{reason=\"queue_full\"}"), 0);
  EXPECT_EQ(count("octet_exported_spans_total"), 0);
}

TEST(OtlpExporterTest, ABadEndpointIsNamed) {
  RouterMetrics metrics;
  const auto exporter = OtlpExporter::open({.endpoint = "http://a:b"}, metrics);
  ASSERT_FALSE(exporter.ok());
  EXPECT_EQ(exporter.status().message(), "--otlp-endpoint: 'http://a:b' has no port in the range 1 to 65535");
}

}  // namespace
}  // namespace octet::router
