#include "router/request/random_bits.h"

#include <sys/random.h>

#include <cerrno>

#include "base/check.h"

namespace octet::router {

uint64_t random_bits() {
  uint64_t bits = 0;
  // Fails for no size up to 256 bytes on a kernel that has the call.
  OCTET_CHECK(getentropy(&bits, sizeof(bits)) == 0, "getentropy: errno ", errno);
  return bits;
}

}  // namespace octet::router
