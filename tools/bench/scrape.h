// Reads histograms from a Prometheus endpoint, before and after a run, so that a figure that only the server
// can measure stands in the run's report.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/clock.h"

namespace octet::bench {

struct Histogram {
  std::vector<std::pair<double, uint64_t>>
      buckets;  // upper bound -> observations at or below it, bounds rising
  uint64_t count() const { return buckets.empty() ? 0 : buckets.back().second; }
  // As PromQL's histogram_quantile: linear within a bucket; in the last one its lower bound. Absent without
  // observations.
  std::optional<double> quantile(double q) const;
};

// Series ("name" or "name{labels}", without le) -> histogram.
using Histograms = std::map<std::string, Histogram>;

// The histograms of the given names in a page in Prometheus' text format. Errors: INVALID_ARGUMENT naming the
// line.
absl::StatusOr<Histograms> parse_histograms(absl::string_view page, const std::vector<std::string>& names);

// What was observed between two readings; a series that is only in `after` counts from zero.
Histograms difference(const Histograms& before, const Histograms& after);

// The body of "http://host:port/path". Errors: INVALID_ARGUMENT for another form, UNAVAILABLE naming the URL.
absl::StatusOr<std::string> http_get(const std::string& url, Duration timeout);

}  // namespace octet::bench
