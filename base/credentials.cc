#include "base/credentials.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <array>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file_watch.h"
#include "base/flags.h"
#include "base/log.h"
#include "base/status.h"

namespace octet {
namespace {

using SystemTime = std::chrono::system_clock::time_point;

constexpr size_t kMaxFileBytes = 1 << 20;
constexpr std::chrono::hours kExpiryWarning(24 * 7);

struct FreeBio {
  void operator()(BIO* bio) const { BIO_free_all(bio); }
};
struct FreeCertificate {
  void operator()(X509* certificate) const { X509_free(certificate); }
};
struct FreeKey {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using Bio = std::unique_ptr<BIO, FreeBio>;
using Certificate = std::unique_ptr<X509, FreeCertificate>;
using Key = std::unique_ptr<EVP_PKEY, FreeKey>;

absl::Status refuse(const TlsPaths::File& file, std::string_view what) {
  return invalid_field(file.flag, absl::StrCat(file.path, " ", absl_view(what)));
}

// OpenSSL's words for the last error of this thread, whose queue is emptied.
std::string openssl_reason() {
  const unsigned long code = ERR_peek_last_error();  // NOLINT(google-runtime-int): OpenSSL's type
  ERR_clear_error();
  const char* reason = ERR_reason_error_string(code);
  return reason != nullptr ? reason : "unknown";
}

Bio bio_of(const std::string& text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::vector<Certificate> certificates(const std::string& pem) {
  std::vector<Certificate> result;
  const Bio bio = bio_of(pem);
  while (X509* certificate = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr))
    result.emplace_back(certificate);
  ERR_clear_error();  // the end of the text is one
  return result;
}

int no_password(char*, int, int, void*) {
  return 0;
}

SystemTime time_of(const ASN1_TIME* time) {
  std::tm calendar{};
  if (ASN1_TIME_to_tm(time, &calendar) != 1) return SystemTime::max();
  return std::chrono::system_clock::from_time_t(timegm(&calendar));
}

// A server's context of these credentials. OpenSSL checks them once more, such as for keys that are too
// short.
absl::StatusOr<std::shared_ptr<SSL_CTX>> server_context(const TlsPaths& paths,
                                                        const std::vector<Certificate>& chain, EVP_PKEY* key,
                                                        const std::vector<Certificate>& authorities) {
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);  // tickets need no memory of ours
  constexpr std::array<unsigned char, 5> kSessions = {'o', 'c', 't', 'e', 't'};
  SSL_CTX_set_session_id_context(context.get(), kSessions.data(), kSessions.size());
  if (SSL_CTX_use_certificate(context.get(), chain.front().get()) != 1)
    return refuse(paths.certificate, absl::StrCat("cannot be used: ", openssl_reason()));
  for (size_t i = 1; i < chain.size(); ++i) SSL_CTX_add1_chain_cert(context.get(), chain[i].get());
  if (SSL_CTX_use_PrivateKey(context.get(), key) != 1)
    return refuse(paths.key, absl::StrCat("cannot be used: ", openssl_reason()));
  if (authorities.empty()) return context;
  X509_STORE* store = SSL_CTX_get_cert_store(context.get());
  for (const Certificate& authority : authorities) {
    X509_STORE_add_cert(store, authority.get());
    SSL_CTX_add_client_CA(context.get(), authority.get());
  }
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  return context;
}

void warn_of_times(const TlsPaths::File& file, const X509* leaf) {
  const SystemTime clock = std::chrono::system_clock::now();
  const SystemTime expiry = time_of(X509_get0_notAfter(leaf));
  if (time_of(X509_get0_notBefore(leaf)) > clock) {
    spdlog::warn("{}: {} is not valid yet; peers will refuse it", file.flag, file.path);
  } else if (expiry < clock) {
    spdlog::warn("{}: {} has expired; peers will refuse it", file.flag, file.path);
  } else if (expiry - clock < kExpiryWarning) {
    spdlog::warn("{}: {} expires in {} hours", file.flag, file.path,
                 std::chrono::duration_cast<std::chrono::hours>(expiry - clock).count());
  }
}

absl::Status check_given(const TlsPaths& paths, TlsFiles::Use use) {
  const auto missing = [](const TlsPaths::File& file, const TlsPaths::File& other) {
    return invalid_field(file.flag, absl::StrCat("needed with ", other.flag));
  };
  const TlsPaths::File& given = !paths.certificate.path.empty() ? paths.certificate
                                : !paths.key.path.empty()       ? paths.key
                                                                : paths.ca;
  if (paths.certificate.path.empty()) return missing(paths.certificate, given);
  if (paths.key.path.empty()) return missing(paths.key, given);
  if (use == TlsFiles::Use::kCluster && paths.ca.path.empty()) return missing(paths.ca, given);
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const TlsContents>> load(const TlsPaths& paths, TlsFiles::Use use) {
  ERR_clear_error();
  auto contents = std::make_shared<TlsContents>();
  for (const auto& [file, text] : {std::pair{&paths.certificate, &contents->certificate},
                                   {&paths.key, &contents->key},
                                   {&paths.ca, &contents->ca}}) {
    if (file->path.empty()) continue;
    auto read = read_small_file(file->path, kMaxFileBytes);
    if (!read.ok()) return invalid_field(file->flag, text_of(read.status()));
    *text = *std::move(read);
  }
  const std::vector<Certificate> chain = certificates(contents->certificate);
  if (chain.empty()) return refuse(paths.certificate, "holds no certificate in PEM");
  const std::vector<Certificate> authorities = certificates(contents->ca);
  if (!paths.ca.path.empty() && authorities.empty()) return refuse(paths.ca, "holds no certificate in PEM");
  const Key key(PEM_read_bio_PrivateKey(bio_of(contents->key).get(), nullptr, no_password, nullptr));
  ERR_clear_error();
  if (key == nullptr) return refuse(paths.key, "holds no private key in PEM without a password");
  if (X509_check_private_key(chain.front().get(), key.get()) != 1) {
    ERR_clear_error();
    return refuse(paths.key, absl::StrCat("is not the key of the certificate ", paths.certificate.path));
  }
  if (use == TlsFiles::Use::kCluster &&
      X509_check_host(chain.front().get(), kClusterName, 0, 0, nullptr) != 1)
    return refuse(paths.certificate, absl::StrCat("does not carry the DNS name ", kClusterName));
  auto context = server_context(paths, chain, key.get(), authorities);
  if (!context.ok()) return context.status();
  contents->server = *std::move(context);
  contents->expiry = time_of(X509_get0_notAfter(chain.front().get()));
  warn_of_times(paths.certificate, chain.front().get());
  return contents;
}

class WatchedFiles final : public TlsFiles {
 public:
  WatchedFiles(TlsPaths paths, Use use, Duration look_period)
      : paths_(std::move(paths)),
        use_(use),
        watch_({paths_.certificate.path, paths_.key.path, paths_.ca.path}, look_period) {}

  absl::Status load_first() {
    auto contents = load(paths_, use_);
    if (contents.ok()) contents_ = *std::move(contents);
    return contents.status();
  }

  std::shared_ptr<const TlsContents> current() override {
    const std::lock_guard lock(mutex_);
    if (!watch_.changed()) return contents_;
    auto contents = load(paths_, use_);
    if (contents.ok()) {
      contents_ = *std::move(contents);
      spdlog::info("{}: {} was read again", paths_.certificate.flag, paths_.certificate.path);
    } else {
      spdlog::warn("{}; what was read before stays in use", text_of(contents.status()));
    }
    return contents_;
  }

 private:
  const TlsPaths paths_;
  const Use use_;
  std::mutex mutex_;  // guards what follows
  FileWatch watch_;
  std::shared_ptr<const TlsContents> contents_;
};

}  // namespace

TlsPaths public_tls_paths() {
  return {.certificate = {"--tls-cert", ""}, .key = {"--tls-key", ""}, .ca = {"--tls-client-ca", ""}};
}

TlsPaths metrics_tls_paths() {
  return {.certificate = {"--metrics-tls-cert", ""},
          .key = {"--metrics-tls-key", ""},
          .ca = {"--metrics-tls-client-ca", ""}};
}

TlsPaths cluster_tls_paths() {
  return {.certificate = {"--cluster-cert", ""}, .key = {"--cluster-key", ""}, .ca = {"--cluster-ca", ""}};
}

void add_public_tls_flags(Flags& flags, TlsPaths& paths) {
  flags.add_text("tls-cert", &paths.certificate.path,
                 "PEM file with the certificate, and its chain, of the ports that clients connect to, which "
                 "take only TLS then. Read again when it changes.");
  flags.add_text("tls-key", &paths.key.path, "PEM file with the key of --tls-cert.");
  flags.add_text("tls-client-ca", &paths.ca.path,
                 "PEM file with the authorities that clients' certificates must be signed by (mutual TLS). "
                 "Without it clients need none.");
}

void add_metrics_tls_flags(Flags& flags, TlsPaths& paths) {
  flags.add_text("metrics-tls-cert", &paths.certificate.path,
                 "PEM file with the certificate, and its chain, of the metrics port, which takes only TLS "
                 "then, probes included. Read again when it changes.");
  flags.add_text("metrics-tls-key", &paths.key.path, "PEM file with the key of --metrics-tls-cert.");
  flags.add_text("metrics-tls-client-ca", &paths.ca.path,
                 "PEM file with the authorities that the certificates of the metrics port's clients must be "
                 "signed by (mutual TLS). Without it they need none.");
}

void add_cluster_tls_flags(Flags& flags, TlsPaths& paths) {
  flags.add_text("cluster-cert", &paths.certificate.path,
                 absl::StrCat("PEM file with this process's certificate for the gRPC between routers and "
                              "workers, with the DNS name ",
                              kClusterName,
                              ". All processes of a cluster take mutual TLS, or none does. Read again when "
                              "it changes."));
  flags.add_text("cluster-key", &paths.key.path, "PEM file with the key of --cluster-cert.");
  flags.add_text("cluster-ca", &paths.ca.path,
                 "PEM file with the authority that signs the certificates of this cluster's processes, and "
                 "nothing else.");
}

absl::StatusOr<std::shared_ptr<TlsFiles>> TlsFiles::open(TlsPaths paths, Use use, Duration look_period) {
  if (absl::Status status = check_given(paths, use); !status.ok()) return status;
  auto files = std::make_shared<WatchedFiles>(std::move(paths), use, look_period);
  if (absl::Status status = files->load_first(); !status.ok()) return status;
  return files;
}

absl::StatusOr<std::shared_ptr<TlsFiles>> open_if_given(const TlsPaths& paths, TlsFiles::Use use) {
  if (!paths.given()) return std::shared_ptr<TlsFiles>();
  return TlsFiles::open(paths, use);
}

}  // namespace octet
