// Files of API keys: keys that can be found and quotas, or a refusal.
#include "router/access/api_keys.h"

#include "base/check.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  octet::fuzz::Input input(data, size);
  const std::string presented(input.line());
  const auto keys = octet::router::ApiKeys::parse(input.rest());
  if (!keys.ok()) {
    OCTET_CHECK(absl::IsInvalidArgument(keys.status()), keys.status());
    return 0;
  }
  if (const auto key = keys->find(presented)) OCTET_CHECK(key->tenant.weight > 0);
  keys->quota_of(presented);
  return 0;
}
