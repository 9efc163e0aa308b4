// A call of the chat API that was answered.
#pragma once

#include "router/tracing/call_record.h"

namespace octet::router {

inline CallRecord chat_record(std::chrono::system_clock::time_point unix_arrival, Duration duration) {
  CallRecord record;
  record.origin = {.api = "openai",
                   .operation = "chat",
                   .method = "POST",
                   .path = "/v1/chat/completions",
                   .client = "10.0.0.7:5000",
                   .request_id = "r-1"};
  record.unix_arrival = unix_arrival;
  record.end_time = record.arrival + duration;
  record.http_status = 200;
  return record;
}

}  // namespace octet::router
