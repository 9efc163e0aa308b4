#include "base/credential_metrics.h"

namespace octet {

CredentialMetrics::CredentialMetrics(prometheus::Registry& registry, std::shared_ptr<TlsFiles> public_files,
                                     std::shared_ptr<TlsFiles> cluster_files) {
  if (public_files == nullptr && cluster_files == nullptr) return;
  auto& family = prometheus::BuildGauge()
                     .Name("octet_tls_certificate_expiry_timestamp_seconds")
                     .Help("When the certificate in use expires, as Unix time.")
                     .Register(registry);
  if (public_files != nullptr)
    gauges_.emplace_back(std::move(public_files), &family.Add({{"certificate", "public"}}));
  if (cluster_files != nullptr)
    gauges_.emplace_back(std::move(cluster_files), &family.Add({{"certificate", "cluster"}}));
  update();
}

void CredentialMetrics::update() {
  for (const auto& [files, gauge] : gauges_) {
    gauge->Set(std::chrono::duration<double>(files->current()->expiry.time_since_epoch()).count());
  }
}

}  // namespace octet
