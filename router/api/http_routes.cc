#include "router/api/http_routes.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace octet::router {
namespace {

// Whether route is "/a/*" and path lies below "/a/".
bool matches_tree(std::string_view route, std::string_view path) {
  if (!route.ends_with("/*")) return false;
  route.remove_suffix(1);
  return path.size() > route.size() && path.starts_with(route);
}

}  // namespace

const HttpRoute* find_route(const HttpServer::Routes& routes, const std::string& path) {
  auto route = routes.find(path);
  if (route == routes.end()) {
    route = std::find_if(routes.begin(), routes.end(),
                         [&](const auto& candidate) { return matches_tree(candidate.first, path); });
  }
  return route == routes.end() ? nullptr : &route->second;
}

const HttpHandler* find_handler(const HttpRoute& route, const std::string& method) {
  auto handler = route.methods.find(method);
  if (handler == route.methods.end() && method == "HEAD") handler = route.methods.find("GET");
  return handler == route.methods.end() ? nullptr : &handler->second;
}

std::string allowed_methods(const HttpRoute& route) {
  std::string allowed;
  for (const auto& [method, unused] : route.methods) absl::StrAppend(&allowed, method, ", ");
  if (route.methods.contains("GET") && !route.methods.contains("HEAD")) allowed += "HEAD, ";
  return allowed + "OPTIONS";
}

}  // namespace octet::router
