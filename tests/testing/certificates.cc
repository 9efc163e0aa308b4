#include "tests/testing/certificates.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/check.h"

namespace octet::testing {
namespace {

using Bio = std::unique_ptr<BIO, decltype(&BIO_free_all)>;
using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;

std::string text_of(const Bio& bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);  // NOLINT(google-runtime-int): OpenSSL's type
  return std::string(data, static_cast<size_t>(size));
}

Bio bio_of(const std::string& text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free_all);
}

void add_extension(X509* certificate, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  OCTET_CHECK(extension != nullptr, value);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

// Signed by the issuer, or by itself when there is none.
Certified make(const CertificateRequest& request, const Certified* issuer) {
  static std::atomic<int> serial{1};
  const Key key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  const Certificate certificate(X509_new(), X509_free);
  X509* x = certificate.get();
  X509_set_version(x, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
  X509_gmtime_adj(X509_getm_notBefore(x), request.valid_from_s);
  X509_gmtime_adj(X509_getm_notAfter(x), request.valid_from_s + request.valid_for_s);
  X509_set_pubkey(x, key.get());
  X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(request.name.c_str()), -1, -1, 0);
  if (issuer == nullptr) {
    X509_set_issuer_name(x, X509_get_subject_name(x));
    add_extension(x, NID_basic_constraints, "critical,CA:TRUE");
    add_extension(x, NID_key_usage, "critical,keyCertSign,cRLSign");
    X509_sign(x, key.get(), EVP_sha256());
  } else {
    const Certificate by(PEM_read_bio_X509(bio_of(issuer->certificate).get(), nullptr, nullptr, nullptr),
                         X509_free);
    const Key by_key(PEM_read_bio_PrivateKey(bio_of(issuer->key).get(), nullptr, nullptr, nullptr),
                     EVP_PKEY_free);
    X509_set_issuer_name(x, X509_get_subject_name(by.get()));
    std::string names = "IP:127.0.0.1";
    for (const std::string& name : request.dns_names) names += ",DNS:" + name;
    add_extension(x, NID_subject_alt_name, names);
    add_extension(x, NID_ext_key_usage, "serverAuth,clientAuth");
    X509_sign(x, by_key.get(), EVP_sha256());
  }
  const Bio certificate_pem(BIO_new(BIO_s_mem()), BIO_free_all);
  const Bio key_pem(BIO_new(BIO_s_mem()), BIO_free_all);
  PEM_write_bio_X509(certificate_pem.get(), x);
  PEM_write_bio_PrivateKey(key_pem.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  return {text_of(certificate_pem), text_of(key_pem)};
}

}  // namespace

Certified make_authority(const std::string& name) {
  CertificateRequest request;
  request.name = name;
  return make(request, nullptr);
}

Certified make_certificate(const Certified& authority, const CertificateRequest& request) {
  return make(request, &authority);
}

CertificateFolder::CertificateFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "octet-certificates-XXXXXX").string();
  OCTET_CHECK(mkdtemp(pattern.data()) != nullptr, pattern);
  folder_ = pattern;
}

CertificateFolder::~CertificateFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

std::string CertificateFolder::write(const std::string& name, const std::string& text) const {
  const std::string unfinished = path(name + ".part");
  std::ofstream(unfinished) << text;
  OCTET_CHECK(std::rename(unfinished.c_str(), path(name).c_str()) == 0, path(name));
  return path(name);
}

void CertificateFolder::write_all(const Certified& certified, const Certified* authority) const {
  write("cert.pem", certified.certificate);
  write("key.pem", certified.key);
  if (authority != nullptr) write("ca.pem", authority->certificate);
}

TlsPaths CertificateFolder::paths(TlsPaths flags, bool with_ca) const {
  flags.certificate.path = path("cert.pem");
  flags.key.path = path("key.pem");
  if (with_ca) flags.ca.path = path("ca.pem");
  return flags;
}

}  // namespace octet::testing
