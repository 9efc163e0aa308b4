// Which route a request takes.
#pragma once

#include <string>
#include <string_view>

#include "router/api/http_server.h"

namespace octet::router {

// Null: there is nothing at this path.
const HttpRoute* find_route(const HttpServer::Routes& routes, const std::string& path);
// Null: the route does not know the method.
const HttpHandler* find_handler(const HttpRoute& route, const std::string& method);
// As the header Allow lists them.
std::string allowed_methods(const HttpRoute& route);

}  // namespace octet::router
