// octet-router: see router/README.md.
#include <google/protobuf/stubs/logging.h>
#include <malloc.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/log.h"
#include "base/stop_signal.h"
#include "router/config.h"
#include "router/router.h"

namespace {

int fail(const absl::Status& status) {
  std::fprintf(stderr, "octet-router: %s\n", std::string(status.message()).c_str());
  return EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
  mallopt(M_ARENA_MAX, 2);  // memory freed by one of gRPC's threads serves the next, and RSS stays level
  octet::StopSignal stop;
  octet::router::RouterConfig config;
  const auto outcome = octet::router::parse_config(argc, argv, config);
  if (!outcome.ok()) return fail(outcome.status());
  if (*outcome == octet::router::ConfigOutcome::kPrinted) return EXIT_SUCCESS;
  octet::start_logging("router", config.log_level);
  google::protobuf::SetLogHandler(nullptr);  // what does not parse is answered as the client's error
  auto router = octet::router::Router::make(config);
  if (!router.ok()) return fail(router.status());
  const absl::Status status = (*router)->run(stop);
  return status.ok() ? EXIT_SUCCESS : fail(status);
}
