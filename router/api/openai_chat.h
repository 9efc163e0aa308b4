// POST /v1/chat/completions.
#pragma once

#include <memory>

#include "router/api/http_server.h"
#include "router/api/service_context.h"

namespace octet::router {

void serve_chat_completions(ServiceContext& context, const HttpRequest& request,
                            std::shared_ptr<HttpResponder> responder);

}  // namespace octet::router
