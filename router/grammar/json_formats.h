// The values of JSON schema's format.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace octet::router {

inline constexpr std::string_view kSupportedFormats =
    "date, time, date-time, uuid, ipv4, hostname, email and uri";

// A regular expression for the whole of a string of this format; nothing for formats that are not supported.
std::optional<std::string> regex_of_format(std::string_view format);

}  // namespace octet::router
