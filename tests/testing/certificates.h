// Certificates made while a test runs, and a folder of files for them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/credentials.h"

namespace octet::testing {

// In PEM.
struct Certified {
  std::string certificate;
  std::string key;
};

struct CertificateRequest {
  std::string name = "test";  // the common name
  std::vector<std::string> dns_names = {"localhost", kClusterName};
  int valid_from_s = -3600;          // counted from now
  int valid_for_s = 30 * 24 * 3600;  // counted from valid_from_s
};

// An authority of its own, with an EC key.
Certified make_authority(const std::string& name = "authority");
// For a server and a client.
Certified make_certificate(const Certified& authority, const CertificateRequest& request = {});

// A folder that goes with the object.
class CertificateFolder {
 public:
  CertificateFolder();
  ~CertificateFolder();
  CertificateFolder(const CertificateFolder&) = delete;
  CertificateFolder& operator=(const CertificateFolder&) = delete;

  // Replaces the file in one step; the path.
  std::string write(const std::string& name, const std::string& text) const;
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  // cert.pem, key.pem, and ca.pem unless authority is null.
  void write_all(const Certified& certified, const Certified* authority) const;
  // What TlsFiles::open() takes for the files of write_all().
  TlsPaths paths(TlsPaths flags, bool with_ca) const;

 private:
  std::string folder_;
};

}  // namespace octet::testing
