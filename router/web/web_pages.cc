#include "router/web/web_pages.h"

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/status.h"
#include "router/request/request_id.h"

namespace octet::router {

// Of files in this tree (CMakeLists.txt).
std::string_view index_html();
std::string_view openapi_json();

namespace {

// The page may run its own script, which carries this answer's nonce, and talk to this router; nothing else.
HttpHeaders page_headers(const std::string& nonce) {
  return {{"Content-Security-Policy",
           absl::StrCat("default-src 'none'; script-src 'nonce-", nonce, "'; style-src 'nonce-", nonce,
                        "'; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
                        "frame-ancestors 'none'")},
          {"X-Content-Type-Options", "nosniff"},
          {"Referrer-Policy", "no-referrer"},
          {"Cache-Control", "no-store"}};
}

void send_page(const HttpRequest&, const std::shared_ptr<HttpResponder>& responder) {
  const std::string nonce = make_request_id();
  responder->send(200, "text/html; charset=utf-8",
                  absl::StrReplaceAll(absl_view(index_html()), {{"{{nonce}}", nonce}}), page_headers(nonce));
}

void send_openapi(const HttpRequest&, const std::shared_ptr<HttpResponder>& responder) {
  responder->send(200, "application/json", std::string(openapi_json()),
                  {{"X-Content-Type-Options", "nosniff"}});
}

}  // namespace

void add_web_routes(HttpServer::Routes& routes) {
  routes["/"].methods["GET"] = send_page;
  routes["/openapi.json"].methods["GET"] = send_openapi;
}

}  // namespace octet::router
