// When the certificates of a process expire, as a series.
#pragma once

#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include <memory>
#include <utility>
#include <vector>

#include "base/credentials.h"

namespace octet {

// octet_tls_certificate_expiry_timestamp_seconds{certificate}: Unix time; certificate = public | metrics |
// cluster, those that the process has.
class CredentialMetrics {
 public:
  struct Files {
    const char* certificate;
    std::shared_ptr<TlsFiles> files;  // null: not given
  };
  CredentialMetrics(prometheus::Registry& registry, const std::vector<Files>& all);
  // Called now and then: certificates are replaced while the process runs.
  void update();

 private:
  std::vector<std::pair<std::shared_ptr<TlsFiles>, prometheus::Gauge*>> gauges_;
};

}  // namespace octet
