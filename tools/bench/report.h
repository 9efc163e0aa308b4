// A run's figures as a table for people and as JSON for programs; both say the same.
#pragma once

#include <string>
#include <vector>

#include "tools/bench/process_memory.h"
#include "tools/bench/results.h"
#include "tools/bench/scrape.h"

namespace octet::bench {

struct Report {
  std::string title;  // API, target and load in words
  const Results& results;
  std::vector<std::pair<std::string, Histograms>> scraped;  // by URL
  std::vector<WatchedProcess> processes;
};

std::string table(const Report& report);
std::string report_json(const Report& report);

}  // namespace octet::bench
