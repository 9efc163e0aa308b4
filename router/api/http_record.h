// The record of an HTTP request.
#pragma once

#include <string>

#include "router/api/http_server.h"
#include "router/tracing/call_record.h"
#include "router/tracing/call_recorder.h"

namespace octet::router {

// Begins the record of a request whose header is whole, or broken. route: of its path, null for none. client:
// "address:port".
std::shared_ptr<CallRecord> begin_http_record(const CallRecorder& calls, const HttpRequest& request,
                                              const HttpRoute* route, const std::string& client);

}  // namespace octet::router
