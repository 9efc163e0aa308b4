// The HTTP endpoint that every process has for Prometheus and for probes. It answers from the start of the
// process, on a thread of its own, and reads nothing from clients but a request line and headers.
#pragma once

#include <prometheus/registry.h>

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/credentials.h"

namespace octet {

// GET /metrics   Prometheus text format
// GET /live      200 when live() is true, else 503
// GET /ready     200 when ready() is true, else 503;  /health is the same
class MetricsEndpoint {
 public:
  // Listens on host:port (port 0: any free one). tls: null for plaintext. Errors: UNAVAILABLE naming the
  // address when it cannot be bound.
  static absl::StatusOr<std::unique_ptr<MetricsEndpoint>> listen(
      const std::string& host, int port, std::shared_ptr<prometheus::Registry> registry,
      std::function<bool()> ready, std::function<bool()> live = [] { return true; },
      std::shared_ptr<TlsFiles> tls = nullptr);
  ~MetricsEndpoint();

  int port() const;

 private:
  struct Impl;
  explicit MetricsEndpoint(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace octet
