#include "router/api/renamed_field.h"

#include <optional>
#include <string>

#include "base/status.h"

namespace octet::router {

absl::Status renamed_field(const absl::Status& status, const FieldNames& names) {
  const std::optional<std::string> field = field_of(status);
  if (!field) return status;
  for (const auto& [from, to] : names) {
    const bool matches =
        field->starts_with(from) &&
        (field->size() == from.size() || (*field)[from.size()] == '[' || (*field)[from.size()] == '.');
    if (!matches) continue;
    std::string message(status.message());
    if (message.starts_with(from)) message.replace(0, from.size(), to);
    const std::string name = std::string(to) + field->substr(from.size());
    return with_field(absl::Status(status.code(), message), name);
  }
  return status;
}

}  // namespace octet::router
