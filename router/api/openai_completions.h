// POST /v1/completions.
#pragma once

#include <memory>

#include "router/api/http_server.h"
#include "router/api/service_context.h"

namespace octet::router {

// The prompts of a list are numbered, and prompt i is sampled with seed + i, so that equal prompts differ.
void serve_completions(ServiceContext& context, const HttpRequest& request,
                       std::shared_ptr<HttpResponder> responder);

}  // namespace octet::router
