// A pipeline whose stages speak mutual TLS.
#include <gtest/gtest.h>

#include "octet/v1/pipeline.grpc.pb.h"
#include "tests/testing/certificates.h"
#include "tests/worker/rpc/workers.h"

namespace octet::worker {
namespace {

using octet::testing::CertificateFolder;
using octet::testing::make_authority;
using octet::testing::make_certificate;

std::shared_ptr<TlsFiles> member(const CertificateFolder& folder,
                                 const octet::testing::Certified& authority) {
  folder.write_all(make_certificate(authority), &authority);
  return TlsFiles::open(folder.paths(cluster_tls_paths(), true), TlsFiles::Use::kCluster).value();
}

TEST(ClusterTls, StagesFormAPipelineAndRefuseWhoIsNotOfTheCluster) {
  const auto authority = make_authority();
  const CertificateFolder folder;
  const auto cluster = member(folder, authority);
  RunningWorker lead(nano_worker(0, 2), cluster);
  {
    RunningWorker stranger(nano_worker(1, 2, lead.address()));  // speaks plaintext
    RunningWorker stage(nano_worker(1, 2, lead.address()), cluster);
    lead.wait_until_ready();
    EXPECT_TRUE(stage.process().ready());
    EXPECT_FALSE(stranger.process().ready());
  }
  const CertificateFolder other_folder;
  const auto other = member(other_folder, make_authority("another cluster"));
  for (TlsFiles* peer : {static_cast<TlsFiles*>(nullptr), other.get()}) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    const auto reader =
        v1::Pipeline::NewStub(internal_channel(lead.address(), peer))->Watch(&context, v1::WatchRequest());
    v1::WatchResponse state;
    EXPECT_FALSE(reader->Read(&state));
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  }
}

}  // namespace
}  // namespace octet::worker
