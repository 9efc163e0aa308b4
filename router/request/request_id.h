// The id that a request has in its answer, in logs and in traces.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace octet::router {

inline constexpr size_t kMaxRequestIdBytes = 128;

// 32 hexadecimal digits, drawn.
std::string make_request_id();

// Whether a client's id may be used: 1 to kMaxRequestIdBytes characters of [A-Za-z0-9_.:-]. Errors:
// invalid_field() with this field's name.
absl::Status check_request_id(std::string_view field, std::string_view id);

}  // namespace octet::router
