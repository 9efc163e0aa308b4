// What every API of the router works with; made once in main.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>

#include "router/generation/generation.h"
#include "router/metrics.h"
#include "router/request/validated_request.h"

namespace octet::router {

class Access;
class CallRecorder;

struct ServiceContext {
  boost::asio::io_context& loop;  // one thread runs it and owns all request state
  std::shared_ptr<const Tokenizer> tokenizer;
  const ChatTemplate& chat_template;
  Generator& generator;
  RouterMetrics& metrics;
  // Empty until the first pipeline is ready; the model that requests are checked against.
  std::function<ValidationContext()> validation;  // safe from any thread once a pipeline was ready
  Access* access = nullptr;                       // null: no API key is asked for
  const CallRecorder* calls = nullptr;            // null: calls are not recorded
};

}  // namespace octet::router
