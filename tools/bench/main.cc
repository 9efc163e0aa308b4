// octet-bench: loads a router over one of its APIs, checks the answers and prints what it measured.
// Exit status: 0 when every request was answered rightly, 1 when not, 2 for bad flags, files or targets.
#include <boost/asio/io_context.hpp>
#include <climits>
#include <fstream>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/flags.h"
#include "tools/bench/client.h"
#include "tools/bench/load.h"
#include "tools/bench/process_memory.h"
#include "tools/bench/prompt_set.h"
#include "tools/bench/report.h"
#include "tools/bench/results.h"
#include "tools/bench/scrape.h"

namespace octet::bench {
namespace {

constexpr int kExitRight = 0;
constexpr int kExitWrong = 1;
constexpr int kExitUnusable = 2;
constexpr Duration kScrapeTimeout = std::chrono::seconds(10);

struct Options {
  std::string api = "grpc";
  std::string target;
  Caller caller;
  std::string prompts_path;
  uint32_t num_clients = 1;
  double rate = 0;  // 0: closed loop
  uint32_t seed = 0;
  uint32_t max_in_flight = 10'000;
  uint32_t num_requests = 0;  // 0: each prompt once
  uint32_t num_warmup = 0;
  Duration timeout = std::chrono::minutes(2);
  std::vector<std::string> scrape_urls;
  std::vector<std::string> histogram_names = {"octet_step_overhead_seconds"};
  std::vector<int> watched_pids;
  std::string json_path;
  bool allow_errors = false;
  bool allow_wrong = false;
};

void add_flags(Flags& flags, Options& options) {
  flags.add_choice("api", &options.api, {"grpc", "openai", "nemo"}, "The API to load.");
  flags.add_text("target", &options.target,
                 "HOST:PORT. Empty: 127.0.0.1, port 50051 for grpc, 1424 for the others.");
  flags.add_text("model", &options.caller.model, "Model named in requests. Empty: the router's own.");
  flags.add_text("api-key", &options.caller.api_key,
                 "API key of all requests. On a machine with others, better in the environment.");
  flags.add_text("prompts", &options.prompts_path, "JSONL of prompts; tools/bench/README.md says the keys.");
  flags.add_number("clients", &options.num_clients, 1, 100'000,
                   "Closed loop: clients that send one after another.");
  flags.add_number("rate", &options.rate, 0, 1e6,
                   "Open loop: requests a second, arriving as a Poisson process.");
  flags.add_number("seed", &options.seed, 0, UINT32_MAX, "Open loop: seed of the arrival times.");
  flags.add_number("max-in-flight", &options.max_in_flight, 1, 100'000,
                   "Open loop: requests past this many fail as \"not sent\".");
  flags.add_number("requests", &options.num_requests, 0, kMaxPrompts,
                   "Requests to send, prompts repeated as needed. 0: each prompt once.");
  flags.add_number("warmup", &options.num_warmup, 0, kMaxPrompts,
                   "Requests sent before, and left out of the figures.");
  flags.add_duration("timeout", &options.timeout, std::chrono::milliseconds(1), std::chrono::hours(24),
                     "Time in which a request must be answered.");
  flags.add_list("scrape", &options.scrape_urls, "http://HOST:PORT/metrics pages to read before and after.");
  flags.add_list("histogram", &options.histogram_names, "Histograms printed from there.");
  flags.add_list("watch-pid", &options.watched_pids, 1, INT_MAX,
                 "Processes whose resident memory is sampled at 10 % and at the end.");
  flags.add_text("json", &options.json_path, "File that gets the figures as JSON.");
  flags.add_switch("allow-errors", &options.allow_errors, "Failed requests do not make the exit status 1.");
  flags.add_switch("allow-wrong", &options.allow_wrong, "Wrong answers do not make the exit status 1.");
}

// What one flag alone cannot tell. Errors: INVALID_ARGUMENT naming the flags.
absl::Status check_flags(const Flags& flags, const Options& options) {
  if (options.prompts_path.empty()) return absl::InvalidArgumentError("--prompts FILE is needed");
  if (options.rate > 0 && flags.given("clients")) {
    return absl::InvalidArgumentError("--rate and --clients exclude each other: an open loop has no clients");
  }
  for (const char* name : {"seed", "max-in-flight"}) {
    if (options.rate == 0 && flags.given(name)) {
      return absl::InvalidArgumentError(absl::StrCat("--", name, " needs --rate"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Client>> make_client(boost::asio::io_context& loop, const Options& options) {
  const bool grpc = options.api == "grpc";
  const std::string target = !options.target.empty() ? options.target
                             : grpc                  ? "127.0.0.1:50051"
                                                     : "127.0.0.1:1424";
  const absl::StatusOr<Endpoint> endpoint = parse_endpoint(target);
  if (!endpoint.ok())
    return absl::InvalidArgumentError(absl::StrCat("--target: ", endpoint.status().message()));
  if (grpc) return make_grpc_client(loop, target, options.caller);
  return make_http_client(loop, *endpoint, options.api == "openai" ? HttpApi::kOpenai : HttpApi::kNemo,
                          options.caller);
}

absl::StatusOr<std::vector<Histograms>> scrape(const Options& options) {
  std::vector<Histograms> pages;
  for (const std::string& url : options.scrape_urls) {
    const absl::StatusOr<std::string> page = http_get(url, kScrapeTimeout);
    if (!page.ok()) return page.status();
    absl::StatusOr<Histograms> histograms = parse_histograms(*page, options.histogram_names);
    if (!histograms.ok())
      return absl::InvalidArgumentError(absl::StrCat(url, ": ", histograms.status().message()));
    pages.push_back(*std::move(histograms));
  }
  return pages;
}

std::string title(const Options& options, const LoadPlan& plan) {
  const std::string load =
      options.rate > 0 ? absl::StrFormat("open loop, %g requests/s, seed %d", options.rate, options.seed)
                       : absl::StrFormat("closed loop, %d clients", options.num_clients);
  return absl::StrFormat("octet-bench: %s, %s, %d requests of %s", options.api, load, plan.num_requests,
                         options.prompts_path);
}

// One load from its first request to its last answer.
void run_load(boost::asio::io_context& loop, Client& client, const std::vector<Prompt>& prompts,
              const LoadPlan& plan, Results& results, std::function<void(uint64_t)> on_finished) {
  loop.restart();
  Load load(loop, client, prompts, plan, results, std::move(on_finished));
  load.start();
  loop.run();
}

// Errors: INVALID_ARGUMENT naming file and line of a prompt that the API cannot take.
absl::Status check_prompts(const Client& client, const std::vector<Prompt>& prompts,
                           const std::string& path) {
  for (const Prompt& prompt : prompts) {
    if (absl::Status status = client.check(prompt); !status.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(path, ":", prompt.line, ": ", status.message()));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<WatchedProcess>> watch_processes(const std::vector<int>& pids) {
  std::vector<WatchedProcess> processes;
  for (const int pid : pids) {
    absl::StatusOr<WatchedProcess> process = watch_process(pid);
    if (!process.ok()) return absl::NotFoundError(absl::StrCat("--watch-pid: ", process.status().message()));
    processes.push_back(*std::move(process));
  }
  return processes;
}

// A process that is gone keeps its empty figure.
void sample_memory(std::vector<WatchedProcess>& processes, uint64_t num_finished, uint64_t num_requests) {
  const bool early = num_finished == (num_requests + 9) / 10;
  const bool last = num_finished == num_requests;
  if (!early && !last) return;
  for (WatchedProcess& process : processes) {
    const absl::StatusOr<uint64_t> bytes = resident_bytes(process.pid);
    if (bytes.ok() && early) process.early_bytes = *bytes;
    if (bytes.ok() && last) process.final_bytes = *bytes;
  }
}

absl::Status print(const Report& report, const std::string& json_path) {
  std::cout << table(report) << std::flush;
  if (json_path.empty()) return absl::OkStatus();
  std::ofstream file(json_path);
  file << report_json(report) << std::flush;
  if (!file) return absl::UnavailableError(absl::StrCat("--json: ", json_path, ": cannot be written"));
  return absl::OkStatus();
}

absl::StatusOr<int> run(const Options& options) {
  const absl::StatusOr<std::vector<Prompt>> prompts = read_prompts(options.prompts_path);
  if (!prompts.ok()) return prompts.status();
  boost::asio::io_context loop(1);
  const absl::StatusOr<std::unique_ptr<Client>> client = make_client(loop, options);
  if (!client.ok()) return client.status();
  absl::Status status = check_prompts(**client, *prompts, options.prompts_path);
  if (!status.ok()) return status;
  absl::StatusOr<std::vector<WatchedProcess>> processes = watch_processes(options.watched_pids);
  if (!processes.ok()) return processes.status();

  LoadPlan plan;
  plan.timeout = options.timeout;
  if (options.num_warmup > 0) {
    plan.loop = ClosedLoop{options.num_clients};
    plan.num_requests = options.num_warmup;
    Results ignored;
    run_load(loop, **client, *prompts, plan, ignored, [](uint64_t) {});
  }
  const absl::StatusOr<std::vector<Histograms>> before = scrape(options);
  if (!before.ok()) return before.status();

  plan.loop = ClosedLoop{options.num_clients};
  if (options.rate > 0) plan.loop = OpenLoop{options.rate, options.seed, options.max_in_flight};
  plan.num_requests = options.num_requests > 0 ? options.num_requests : prompts->size();
  Results results;
  run_load(loop, **client, *prompts, plan, results,
           [&](uint64_t num_finished) { sample_memory(*processes, num_finished, plan.num_requests); });

  // What was measured is printed even when the server is gone.
  const absl::StatusOr<std::vector<Histograms>> after = scrape(options);
  Report report{title(options, plan), results, {}, *processes};
  for (size_t i = 0; after.ok() && i < after->size(); ++i) {
    report.scraped.emplace_back(options.scrape_urls[i], difference((*before)[i], (*after)[i]));
  }
  status = print(report, options.json_path);
  if (!status.ok()) return status;
  if (!after.ok()) return after.status();
  const bool right =
      (results.num_failed == 0 || options.allow_errors) && (results.num_wrong == 0 || options.allow_wrong);
  return right ? kExitRight : kExitWrong;
}

}  // namespace
}  // namespace octet::bench

int main(int argc, char** argv) {
  octet::Flags flags("octet-bench", "Loads an Octet router, checks its answers and prints what it measured.");
  octet::bench::Options options;
  octet::bench::add_flags(flags, options);
  const auto refuse = [](const absl::Status& status) {
    std::cerr << "octet-bench: " << status.message() << "\n";
    return octet::bench::kExitUnusable;
  };
  const absl::StatusOr<octet::Flags::Outcome> outcome = flags.parse(argc, argv);
  if (!outcome.ok()) return refuse(outcome.status());
  if (*outcome == octet::Flags::Outcome::kHelpPrinted) return octet::bench::kExitRight;
  if (absl::Status status = octet::bench::check_flags(flags, options); !status.ok()) return refuse(status);
  const absl::StatusOr<int> exit_status = octet::bench::run(options);
  if (!exit_status.ok()) return refuse(exit_status.status());
  return *exit_status;
}
