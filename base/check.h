// OCTET_CHECK: a broken invariant stops the process with the values. Never reachable by a client's input,
// which is refused with a Status instead.
#pragma once

#include <sstream>
#include <string>

namespace octet {

// Prints "file:line: check failed: condition (detail)" to stderr and aborts.
[[noreturn]] void check_failed(const char* file, int line, const char* condition, const std::string& detail);

namespace internal {
template <typename... Parts>
std::string concatenate(const Parts&... parts) {
  std::ostringstream out;
  static_cast<void>((out << ... << parts));
  return out.str();
}
}  // namespace internal

}  // namespace octet

// OCTET_CHECK(condition, values...): the values are streamed into the message.
#define OCTET_CHECK(condition, ...) \
  (static_cast<bool>(condition)     \
       ? static_cast<void>(0)       \
       : ::octet::check_failed(__FILE__, __LINE__, #condition, ::octet::internal::concatenate(__VA_ARGS__)))
