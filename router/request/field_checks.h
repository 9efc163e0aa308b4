// Checks of one field's value that the parts of validate() share. Each error names the field, the limit and
// the value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace octet::router {

enum class LowerEnd { kIncluded, kExcluded };

// The value, or the default when absent. Errors: outside [min, max], NaN.
absl::StatusOr<int64_t> integer_in(std::string_view field, std::optional<int64_t> value,
                                   int64_t default_value, int64_t min, int64_t max);
absl::StatusOr<double> number_in(std::string_view field, std::optional<double> value, double default_value,
                                 double min, double max, LowerEnd lower_end = LowerEnd::kIncluded);

// Errors: num_entries above max.
absl::Status check_num_entries(std::string_view field, size_t num_entries, size_t max);

// Errors: entry number index of the field is empty, longer than max_bytes or not UTF-8.
absl::Status check_string(std::string_view field, size_t index, std::string_view text, size_t max_bytes);

// Errors: a token id, entry number index of the field, is not below vocab_size.
absl::Status check_token_id(std::string_view field, size_t index, int64_t id, uint32_t vocab_size);

// A client's short text for an error message: in quotes, other characters than printable ASCII escaped, at
// most 64 bytes of it.
std::string printable(std::string_view text);

}  // namespace octet::router
