#include "base/credential_metrics.h"

#include <algorithm>

namespace octet {

CredentialMetrics::CredentialMetrics(prometheus::Registry& registry, const std::vector<Files>& all) {
  if (std::all_of(all.begin(), all.end(), [](const Files& each) { return each.files == nullptr; })) return;
  auto& family = prometheus::BuildGauge()
                     .Name("octet_tls_certificate_expiry_timestamp_seconds")
                     .Help("When the certificate in use expires, as Unix time.")
                     .Register(registry);
  for (const auto& [certificate, files] : all) {
    if (files != nullptr) gauges_.emplace_back(files, &family.Add({{"certificate", certificate}}));
  }
  update();
}

void CredentialMetrics::update() {
  for (const auto& [files, gauge] : gauges_) {
    gauge->Set(std::chrono::duration<double>(files->current()->expiry.time_since_epoch()).count());
  }
}

}  // namespace octet
