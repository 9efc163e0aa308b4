#include "router/request/field_checks.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/utf8.h"

namespace octet::router {

absl::StatusOr<int64_t> integer_in(std::string_view field, std::optional<int64_t> value,
                                   int64_t default_value, int64_t min, int64_t max) {
  if (!value) return default_value;
  if (*value < min || *value > max) {
    return invalid_field(field, absl::StrCat("must be from ", min, " to ", max, "; is ", *value));
  }
  return *value;
}

absl::StatusOr<double> number_in(std::string_view field, std::optional<double> value, double default_value,
                                 double min, double max, LowerEnd lower_end) {
  if (!value) return default_value;
  // Written so that NaN fails.
  const bool in_range =
      *value >= min && *value <= max && !(lower_end == LowerEnd::kExcluded && *value == min);
  if (!in_range) {
    const absl::string_view from = lower_end == LowerEnd::kExcluded ? "must be above " : "must be from ";
    return invalid_field(
        field, absl::StrCat(from, min, lower_end == LowerEnd::kExcluded ? " and at most " : " to ", max,
                            "; is ", *value));
  }
  return *value;
}

absl::Status check_num_entries(std::string_view field, size_t num_entries, size_t max) {
  if (num_entries <= max) return absl::OkStatus();
  return invalid_field(field, absl::StrCat("must have at most ", max, " entries; has ", num_entries));
}

absl::Status check_string(std::string_view field, size_t index, std::string_view text, size_t max_bytes) {
  if (text.empty()) return invalid_field(field, absl::StrCat("entry ", index, " must not be empty"));
  if (text.size() > max_bytes) {
    return invalid_field(
        field, absl::StrCat("entry ", index, " must have at most ", max_bytes, " bytes; has ", text.size()));
  }
  if (!is_valid_utf8(text))
    return invalid_field(field, absl::StrCat("entry ", index, " must be valid UTF-8"));
  return absl::OkStatus();
}

absl::Status check_token_id(std::string_view field, size_t index, int64_t id, uint32_t vocab_size) {
  if (id >= 0 && id < int64_t{vocab_size}) return absl::OkStatus();
  return invalid_field(field, absl::StrCat("token id at index ", index, " must be from 0 to ",
                                           int64_t{vocab_size} - 1, "; is ", id));
}

std::string printable(std::string_view text) {
  constexpr size_t kMaxBytes = 64;
  const bool is_long = text.size() > kMaxBytes;
  return absl::StrCat("\"", absl::CHexEscape(absl_view(text.substr(0, kMaxBytes))), is_long ? "...\"" : "\"");
}

}  // namespace octet::router
