#include "worker/link/link_key.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "base/check.h"

namespace octet::worker {
namespace {

unsigned char* raw(std::byte* bytes) {
  return reinterpret_cast<unsigned char*>(bytes);
}

}  // namespace

LinkKey make_link_key() {
  LinkKey key;
  OCTET_CHECK(RAND_bytes(raw(key.data()), key.size()) == 1, "the system has no random numbers");
  return key;
}

LinkProof prove(const LinkKey& key, std::span<const std::byte> bytes) {
  LinkProof proof{};
  const auto* made =
      HMAC(EVP_sha256(), key.data(), key.size(), reinterpret_cast<const unsigned char*>(bytes.data()),
           bytes.size(), raw(proof.data()), nullptr);
  OCTET_CHECK(made != nullptr, "no HMAC-SHA256");
  return proof;
}

bool equal(const LinkProof& a, const LinkProof& b) {
  return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace octet::worker
