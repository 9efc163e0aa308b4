// A small served model for the tests of validate().
#pragma once

#include <string>

#include "router/request/validated_request.h"

namespace octet::router {

// The nano model's tokenizer and a context of 64 tokens.
ValidationContext nano_context();

// A request with this prompt and nothing else.
RequestDraft draft_of(const std::string& prompt);

// A moment that is no special one.
inline constexpr Time kNow = Time(std::chrono::hours(1000));

}  // namespace octet::router
