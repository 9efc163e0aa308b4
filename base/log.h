// Logging, a thin layer over spdlog: one line an event on stderr, never prompt text, never a secret.
#pragma once

#include <spdlog/spdlog.h>

#include <string>

namespace octet {

// Sets the format ("2026-01-31T12:00:00.123 info router: ...") and the level; called once at the start of
// main. level: one of trace, debug, info, warning, error. An unknown level falls back to info.
void start_logging(const std::string& process_name, const std::string& level);

// Text from outside made safe for a log line: control characters escaped, at most max_bytes kept.
std::string loggable(std::string_view text, size_t max_bytes = 128);

}  // namespace octet
