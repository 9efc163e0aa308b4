#include "worker/link/link_key.h"

#include <gtest/gtest.h>

#include <vector>

namespace octet::worker {
namespace {

TEST(LinkKey, EveryEpochHasAnother) {
  EXPECT_NE(make_link_key(), make_link_key());
}

TEST(LinkKey, AProofDependsOnEveryBitOfKeyAndBytes) {
  const LinkKey key = make_link_key();
  const std::vector<std::byte> bytes(24, std::byte{7});
  const LinkProof proof = prove(key, bytes);
  EXPECT_TRUE(equal(proof, prove(key, bytes)));
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::vector<std::byte> other = bytes;
    other[i] ^= std::byte{1};
    EXPECT_FALSE(equal(proof, prove(key, other))) << i;
  }
  for (size_t i = 0; i < key.size(); ++i) {
    LinkKey other = key;
    other[i] ^= std::byte{0x80};
    EXPECT_FALSE(equal(proof, prove(other, bytes))) << i;
  }
}

}  // namespace
}  // namespace octet::worker
