#include "base/credentials.h"

#include <gtest/gtest.h>

#include "base/status.h"
#include "tests/testing/certificates.h"

namespace octet {
namespace {

using testing::CertificateFolder;
using testing::CertificateRequest;
using testing::Certified;
using testing::make_authority;
using testing::make_certificate;

class CredentialsTest : public ::testing::Test {
 protected:
  // What open() says of these public files.
  std::string refusal(const TlsPaths& paths, TlsFiles::Use use = TlsFiles::Use::kPublic) {
    const auto files = TlsFiles::open(paths, use);
    return files.ok() ? "accepted" : text_of(files.status());
  }
  TlsPaths written(const Certified& certified) {
    folder_.write_all(certified, &authority_);
    return folder_.paths(public_tls_paths(), true);
  }

  const Certified authority_ = make_authority();
  const CertificateFolder folder_;
};

TEST_F(CredentialsTest, NothingGivenIsNoTls) {
  const auto none = open_if_given(public_tls_paths(), TlsFiles::Use::kPublic);
  ASSERT_TRUE(none.ok());
  EXPECT_EQ(*none, nullptr);
}

TEST_F(CredentialsTest, NamesTheFlagThatIsMissing) {
  TlsPaths paths = written(make_certificate(authority_));
  paths.key.path.clear();
  EXPECT_EQ(refusal(paths), "--tls-key: needed with --tls-cert");
  paths = public_tls_paths();
  paths.ca.path = folder_.path("ca.pem");
  EXPECT_EQ(refusal(paths), "--tls-cert: needed with --tls-client-ca");
  paths = folder_.paths(cluster_tls_paths(), false);
  EXPECT_EQ(refusal(paths, TlsFiles::Use::kCluster), "--cluster-ca: needed with --cluster-cert");
}

TEST_F(CredentialsTest, NamesTheFileThatCannotBeUsed) {
  TlsPaths paths = written(make_certificate(authority_));
  EXPECT_EQ(refusal(paths), "accepted");
  paths.certificate.path = folder_.path("none.pem");
  EXPECT_EQ(refusal(paths),
            "--tls-cert: " + paths.certificate.path + " cannot be read: No such file or directory");
  paths.certificate.path = folder_.write("junk.pem", "no certificate");
  EXPECT_EQ(refusal(paths), "--tls-cert: " + paths.certificate.path + " holds no certificate in PEM");
  paths.certificate.path = folder_.path("");
  EXPECT_EQ(refusal(paths), "--tls-cert: " + paths.certificate.path + " cannot be read: Is a directory");
  paths.certificate.path = folder_.write("large.pem", std::string((1 << 20) + 1, 'x'));
  EXPECT_EQ(refusal(paths), "--tls-cert: " + paths.certificate.path + " is larger than 1048576 bytes");

  paths = written(make_certificate(authority_));
  paths.key.path = folder_.write("junk.pem", "no key");
  EXPECT_EQ(refusal(paths),
            "--tls-key: " + paths.key.path + " holds no private key in PEM without a password");
  paths.key.path = folder_.write("other.pem", make_certificate(authority_).key);
  EXPECT_EQ(refusal(paths),
            "--tls-key: " + paths.key.path + " is not the key of the certificate " + paths.certificate.path);

  paths = written(make_certificate(authority_));
  paths.ca.path = folder_.write("junk.pem", "no authority");
  EXPECT_EQ(refusal(paths), "--tls-client-ca: " + paths.ca.path + " holds no certificate in PEM");
}

TEST_F(CredentialsTest, AClusterCertificateCarriesTheClustersName) {
  CertificateRequest request;
  request.dns_names = {"localhost"};
  folder_.write_all(make_certificate(authority_, request), &authority_);
  const TlsPaths paths = folder_.paths(cluster_tls_paths(), true);
  EXPECT_EQ(refusal(paths, TlsFiles::Use::kCluster),
            "--cluster-cert: " + paths.certificate.path + " does not carry the DNS name octet-cluster");
}

TEST_F(CredentialsTest, AnExpiredCertificateIsTakenAndTellsItsTime) {
  CertificateRequest request;
  request.valid_for_s = 1800;  // until half an hour ago
  const auto files = TlsFiles::open(written(make_certificate(authority_, request)), TlsFiles::Use::kPublic);
  ASSERT_TRUE(files.ok()) << files.status();
  const auto age = std::chrono::system_clock::now() - (*files)->current()->expiry;
  EXPECT_GT(age, std::chrono::minutes(29));
  EXPECT_LT(age, std::chrono::minutes(31));
}

TEST_F(CredentialsTest, TakesNewFilesOnceTheyFitEachOther) {
  const Certified first = make_certificate(authority_);
  const Certified second = make_certificate(authority_);
  const auto files = TlsFiles::open(written(first), TlsFiles::Use::kPublic, /*look_period=*/Duration::zero());
  ASSERT_TRUE(files.ok()) << files.status();
  const auto before = (*files)->current();
  EXPECT_EQ(before->certificate, first.certificate);
  EXPECT_EQ((*files)->current(), before) << "nothing has changed";

  folder_.write("cert.pem", second.certificate);  // the key does not fit it yet
  EXPECT_EQ((*files)->current(), before);
  folder_.write("key.pem", second.key);
  EXPECT_EQ((*files)->current()->certificate, second.certificate);
  EXPECT_EQ((*files)->current()->key, second.key);
  EXPECT_EQ(before->certificate, first.certificate) << "who holds the old contents keeps them";

  folder_.write("cert.pem", "");
  EXPECT_EQ((*files)->current()->certificate, second.certificate);
}

TEST_F(CredentialsTest, LooksAtTheFilesOnlyOncePerPeriod) {
  const Certified first = make_certificate(authority_);
  const auto files = TlsFiles::open(written(first), TlsFiles::Use::kPublic, std::chrono::hours(1));
  ASSERT_TRUE(files.ok()) << files.status();
  written(make_certificate(authority_));
  EXPECT_EQ((*files)->current()->certificate, first.certificate);
}

}  // namespace
}  // namespace octet
