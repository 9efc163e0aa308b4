// GET / is a page to chat with the model; GET /openapi.json describes the HTTP APIs. Both are files of this
// tree, compiled in.
#pragma once

#include "router/api/http_server.h"

namespace octet::router {

void add_web_routes(HttpServer::Routes& routes);

}  // namespace octet::router
