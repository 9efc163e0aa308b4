#include "tools/bench/client.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace octet::bench {

absl::StatusOr<Endpoint> parse_endpoint(const std::string& text) {
  const size_t colon = text.rfind(':');
  Endpoint endpoint;
  if (colon != std::string::npos) endpoint = {text.substr(0, colon), text.substr(colon + 1)};
  if (endpoint.host.size() > 2 && endpoint.host.front() == '[' && endpoint.host.back() == ']') {
    endpoint.host = endpoint.host.substr(1, endpoint.host.size() - 2);
  }
  uint32_t port = 0;
  if (endpoint.host.empty() || !absl::SimpleAtoi(endpoint.port, &port) || port == 0 || port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", text, "\" must be HOST:PORT with a port from 1 to 65535"));
  }
  return endpoint;
}

}  // namespace octet::bench
