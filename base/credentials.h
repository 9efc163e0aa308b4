// TLS from PEM files: named by flags, read and checked at the start, and read again when they change.
#pragma once

#include <openssl/types.h>

#include <chrono>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/clock.h"

namespace octet {

class Flags;

// The DNS name that the certificate of every process of a cluster carries, whatever host it runs on: peers
// look for it, so that one certificate can serve them all and another one of the same CA does not pass.
inline constexpr const char* kClusterName = "octet-cluster";

// The files of one end of TLS, each with its flag's name for errors. Empty: not given.
struct TlsPaths {
  struct File {
    std::string flag;  // "--tls-cert"
    std::string path;
  };
  File certificate;  // the chain, leaf first
  File key;
  File ca;  // who peers must be signed by
  bool given() const { return !certificate.path.empty() || !key.path.empty() || !ca.path.empty(); }
};

// --tls-cert, --tls-key, --tls-client-ca: of the listeners that clients connect to.
TlsPaths public_tls_paths();
// --metrics-tls-cert, --metrics-tls-key, --metrics-tls-client-ca: of the port of /metrics and probes.
TlsPaths metrics_tls_paths();
// --cluster-cert, --cluster-key, --cluster-ca: mutual TLS between the processes of a cluster.
TlsPaths cluster_tls_paths();
void add_public_tls_flags(Flags& flags, TlsPaths& paths);
void add_metrics_tls_flags(Flags& flags, TlsPaths& paths);
void add_cluster_tls_flags(Flags& flags, TlsPaths& paths);

// What the files held together at one time; certificate and key fit each other.
struct TlsContents {
  std::string certificate;  // PEM, each
  std::string key;
  std::string ca;  // empty: peers need no certificate
  std::chrono::system_clock::time_point expiry;
  std::shared_ptr<SSL_CTX> server;  // TLS 1.2 and 1.3, made of the above
};

class TlsFiles {
 public:
  enum class Use {
    kPublic,   // a CA is optional: with it clients need a certificate
    kCluster,  // a CA is needed, and the certificate must carry kClusterName
  };
  // Files that change are noticed by current(), at most once in look_period. Errors: INVALID_ARGUMENT or
  // UNAVAILABLE in one line that names the flag and the file. An expired certificate is only warned of.
  static absl::StatusOr<std::shared_ptr<TlsFiles>> open(TlsPaths paths, Use use,
                                                        Duration look_period = std::chrono::seconds(1));
  virtual ~TlsFiles() = default;

  // The newest contents that were whole and right; what cannot be used is logged once, and the ones before
  // stay. From any thread.
  virtual std::shared_ptr<const TlsContents> current() = 0;
};

// Null when no file is given.
absl::StatusOr<std::shared_ptr<TlsFiles>> open_if_given(const TlsPaths& paths, TlsFiles::Use use);

}  // namespace octet
