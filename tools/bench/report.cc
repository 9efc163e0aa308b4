#include "tools/bench/report.h"

#include <boost/json.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace octet::bench {
namespace {

namespace json = boost::json;

constexpr size_t kMaxShownBytes = 300;
constexpr double kQuantiles[] = {0.5, 0.9, 0.99};

struct Latency {
  const char* name;
  const char* key;
  const Samples& samples;
};

std::vector<Latency> latencies(const Results& results) {
  return {{"TTFT", "ttft_seconds", results.time_to_first_token},
          {"ITL", "itl_seconds", results.inter_token_latency},
          {"TPOT", "tpot_seconds", results.time_per_output_token},
          {"end to end", "end_to_end_seconds", results.end_to_end},
          {"refusal", "refusal_seconds", results.time_to_refusal}};
}

double per_second(uint64_t count, const Results& results) {
  const double duration = seconds(results.duration());
  return duration > 0 ? static_cast<double>(count) / duration : 0;
}

// Answered requests, so that refusing fast is no throughput.
double answers_per_second(const Results& results) {
  return per_second(results.num_requests - results.num_failed, results);
}

void append_quantile_heads(std::string& out) {
  absl::StrAppendFormat(&out, "%-14s%11s%11s%11s%10s\n", "ms", "p50", "p90", "p99", "samples");
}

// Milliseconds with microsecond digits, or "-".
template <typename Quantiles>
void append_quantiles(const Quantiles& values, std::string& out) {
  for (const double q : kQuantiles) {
    const std::optional<double> value = values.quantile(q);
    absl::StrAppendFormat(&out, "%11s", value ? absl::StrFormat("%.3f", *value * 1e3) : "-");
  }
  absl::StrAppendFormat(&out, "%10d\n", values.count());
}

std::optional<double> growth_percent(const WatchedProcess& process) {
  if (!process.early_bytes || !process.final_bytes || *process.early_bytes == 0) return std::nullopt;
  return (static_cast<double>(*process.final_bytes) / static_cast<double>(*process.early_bytes) - 1) * 100;
}

void append_counts(const Results& results, std::string& out) {
  absl::StrAppendFormat(&out, "requests          %11d\n", results.num_requests);
  absl::StrAppendFormat(&out, "failed            %11d\n", results.num_failed);
  for (const auto& [kind, failure] : results.failures) {
    absl::StrAppendFormat(&out, "  %-15s %11d  %s\n", kind, failure.count,
                          absl::Utf8SafeCEscape(failure.first_detail.substr(0, kMaxShownBytes)));
  }
  absl::StrAppendFormat(&out, "answers verified  %11d\n", results.num_verified);
  absl::StrAppendFormat(&out, "wrong answers     %11d\n", results.num_wrong);
  absl::StrAppendFormat(&out, "duration          %11.3f s\n", seconds(results.duration()));
  absl::StrAppendFormat(&out, "answers/s         %11.1f\n", answers_per_second(results));
  if (results.num_uncounted == 0) {
    absl::StrAppendFormat(&out, "output tokens     %11d\n", results.num_tokens);
    absl::StrAppendFormat(&out, "output tokens/s   %11.1f\n", per_second(results.num_tokens, results));
  } else {
    absl::StrAppendFormat(&out, "output tokens               -  (%d answers do not tell)\n",
                          results.num_uncounted);
  }
}

void append_scraped(const std::string& url, const Histograms& histograms, std::string& out) {
  absl::StrAppendFormat(&out, "\nduring the run, from %s\n", url);
  if (histograms.empty()) {
    absl::StrAppend(&out, "none of the histograms asked for\n");
    return;
  }
  append_quantile_heads(out);
  for (const auto& [series, histogram] : histograms) {
    absl::StrAppendFormat(&out, "%s\n%-14s", series, "");
    append_quantiles(histogram, out);
  }
}

void append_memory(const std::vector<WatchedProcess>& processes, std::string& out) {
  if (processes.empty()) return;
  absl::StrAppendFormat(&out, "\n%-24s%14s%14s%10s\n", "resident MiB", "at 10 %", "at the end", "growth");
  const auto mebibytes = [](std::optional<uint64_t> bytes) {
    return bytes ? absl::StrFormat("%.2f", static_cast<double>(*bytes) / (1 << 20)) : "gone";
  };
  for (const WatchedProcess& process : processes) {
    const std::optional<double> growth = growth_percent(process);
    absl::StrAppendFormat(&out, "%-24s%14s%14s%10s\n", absl::StrFormat("%s (%d)", process.name, process.pid),
                          mebibytes(process.early_bytes), mebibytes(process.final_bytes),
                          growth ? absl::StrFormat("%+.1f %%", *growth) : "-");
  }
}

void append_wrong_answers(const Results& results, std::string& out) {
  const auto shown = [](const std::string& text) {
    return absl::Utf8SafeCEscape(text.substr(0, kMaxShownBytes));
  };
  for (const WrongAnswer& wrong : results.wrong_answers) {
    absl::StrAppendFormat(&out,
                          "\nwrong answer to the prompt in line %d\n  expected \"%s\"\n  got      \"%s\"\n",
                          wrong.line, shown(wrong.expected), shown(wrong.got));
  }
}

template <typename Quantiles>
json::object quantiles_json(const Quantiles& values) {
  json::object object{{"count", values.count()}};
  for (const double q : kQuantiles) {
    const std::optional<double> value = values.quantile(q);
    object[absl::StrFormat("p%.0f", q * 100)] = value ? json::value(*value) : json::value(nullptr);
  }
  return object;
}

json::value or_null(std::optional<uint64_t> value) {
  return value ? json::value(*value) : json::value(nullptr);
}

}  // namespace

std::string table(const Report& report) {
  std::string out = absl::StrCat(report.title, "\n\n");
  append_counts(report.results, out);
  absl::StrAppend(&out, "\n");
  append_quantile_heads(out);
  for (const Latency& latency : latencies(report.results)) {
    absl::StrAppendFormat(&out, "%-14s", latency.name);
    append_quantiles(latency.samples, out);
  }
  for (const auto& [url, histograms] : report.scraped) append_scraped(url, histograms, out);
  append_memory(report.processes, out);
  append_wrong_answers(report.results, out);
  return out;
}

std::string report_json(const Report& report) {
  const Results& results = report.results;
  json::object failures;
  for (const auto& [kind, failure] : results.failures) failures[kind] = failure.count;
  json::object object{{"title", report.title},
                      {"requests", results.num_requests},
                      {"failed", results.num_failed},
                      {"failures", std::move(failures)},
                      {"verified", results.num_verified},
                      {"wrong", results.num_wrong},
                      {"duration_seconds", seconds(results.duration())},
                      {"answers_per_second", answers_per_second(results)}};
  const bool counted = results.num_uncounted == 0;
  object["output_tokens"] = counted ? json::value(results.num_tokens) : json::value(nullptr);
  object["output_tokens_per_second"] =
      counted ? json::value(per_second(results.num_tokens, results)) : json::value(nullptr);
  for (const Latency& latency : latencies(results)) object[latency.key] = quantiles_json(latency.samples);
  json::object& scraped = object["scraped"].emplace_object();
  for (const auto& [url, histograms] : report.scraped) {
    json::object& page = scraped[url].emplace_object();
    for (const auto& [series, histogram] : histograms) page[series] = quantiles_json(histogram);
  }
  json::array& processes = object["processes"].emplace_array();
  for (const WatchedProcess& process : report.processes) {
    const std::optional<double> growth = growth_percent(process);
    processes.push_back({{"pid", process.pid},
                         {"name", process.name},
                         {"resident_bytes_early", or_null(process.early_bytes)},
                         {"resident_bytes_final", or_null(process.final_bytes)},
                         {"growth_percent", growth ? json::value(*growth) : json::value(nullptr)}});
  }
  return json::serialize(object) + "\n";
}

}  // namespace octet::bench
