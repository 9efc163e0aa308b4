// validate() names fields as generation.proto does; each API tells its clients the names that they know.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"

namespace octet::router {

using FieldNames =
    std::vector<std::pair<std::string_view, std::string_view>>;  // generation.proto's -> the API's

// The same error with its field's name replaced, in the message too: "stop[1]: ..." becomes "end_strings[1]:
// ...".
absl::Status renamed_field(const absl::Status& status, const FieldNames& names);

}  // namespace octet::router
