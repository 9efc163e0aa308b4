#include "router/grammar/json_formats.h"

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace octet::router {
namespace {

// Years from 1000 on; a 29th of February in leap years only.
constexpr absl::string_view kDate =
    R"(([1-9]\d{3}-((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8])))"
    R"(|([1-9]\d(0[48]|[2468][048]|[13579][26])|([2468][048]|[13579][26])00)-02-29))";
constexpr absl::string_view kTime =
    R"(([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d))";
constexpr absl::string_view kHostLabel = R"([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)";
constexpr absl::string_view kByteOfAddress = R"((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d))";
constexpr absl::string_view kMailName = R"([A-Za-z0-9_+-]{1,32}(\.[A-Za-z0-9_+-]{1,32}){0,3})";

}  // namespace

std::optional<std::string> regex_of_format(std::string_view format) {
  if (format == "date") return std::string(kDate);
  if (format == "time") return std::string(kTime);
  if (format == "date-time") return absl::StrCat(kDate, "T", kTime);
  if (format == "uuid") return "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}";
  if (format == "ipv4") return absl::StrCat(kByteOfAddress, "(\\.", kByteOfAddress, "){3}");
  if (format == "hostname") return absl::StrCat(kHostLabel, "(\\.", kHostLabel, "){0,3}");
  if (format == "email") return absl::StrCat(kMailName, "@", kHostLabel, "(\\.", kHostLabel, "){1,3}");
  if (format == "uri") return R"([A-Za-z][A-Za-z0-9+.-]*:[A-Za-z0-9!#$&'()*+,./:;=?@_~-]+)";
  return std::nullopt;
}

}  // namespace octet::router
