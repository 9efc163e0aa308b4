// A call as a line of the access log: one JSON object, README.md has its members.
#pragma once

#include <string>

#include "router/tracing/call_record.h"

namespace octet::router {

// One that is over. ASCII but for the tenant's and the model's name, which are UTF-8; no line break.
std::string access_log_line(const CallRecord& record);

}  // namespace octet::router
