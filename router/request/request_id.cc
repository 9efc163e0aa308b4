#include "router/request/request_id.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "router/request/random_bits.h"

namespace octet::router {
namespace {

bool is_request_id_character(char c) {
  const bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
  return letter || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == ':' || c == '-';
}

}  // namespace

std::string make_request_id() {
  return absl::StrFormat("%016x%016x", random_bits(), random_bits());
}

absl::Status check_request_id(std::string_view field, std::string_view id) {
  if (id.empty()) return invalid_field(field, "must not be empty");
  if (id.size() > kMaxRequestIdBytes) {
    return invalid_field(
        field, absl::StrCat("must have at most ", kMaxRequestIdBytes, " characters; has ", id.size()));
  }
  const auto* bad = std::find_if_not(id.begin(), id.end(), is_request_id_character);
  if (bad == id.end()) return absl::OkStatus();
  return invalid_field(field, absl::StrFormat("must consist of [A-Za-z0-9_.:-]; has byte 0x%02x at index %d",
                                              static_cast<unsigned char>(*bad), bad - id.begin()));
}

}  // namespace octet::router
