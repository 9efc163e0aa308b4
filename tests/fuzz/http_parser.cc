// HTTP: what is read does not depend on how the bytes come, and stays within the limits.
#include <string>
#include <vector>

#include "base/check.h"
#include "router/api/http_parser.h"
#include "tests/fuzz/input.h"

namespace octet::router {
namespace {

struct Seen {
  std::vector<HttpRequest> requests;
  int failure = 0;
  bool in_body = false;  // at the end
};

const HttpLimits kLimits = [] {
  HttpLimits limits;
  limits.max_body_bytes = 300;
  limits.max_header_bytes = 600;
  return limits;
}();

// A piece at a time, as a connection does it.
Seen read(std::string_view bytes, size_t piece_bytes) {
  Seen seen;
  HttpParser parser(kLimits);
  while (!bytes.empty()) {
    const std::string_view piece = bytes.substr(0, piece_bytes);
    bytes.remove_prefix(piece.size());
    parser.append(piece);
    for (;;) {
      const HttpParser::State state = parser.parse();
      OCTET_CHECK(parser.num_body_bytes() <= kLimits.max_body_bytes, parser.num_body_bytes());
      if (state == HttpParser::State::kFailed) {
        seen.failure = parser.failure().status;
        OCTET_CHECK(seen.failure >= 400 && seen.failure < 600, seen.failure);
        return seen;
      }
      seen.in_body = state == HttpParser::State::kBody;
      if (state != HttpParser::State::kComplete) break;
      seen.requests.push_back(parser.request());
      parser.next();
    }
  }
  return seen;
}

void check_equal(const HttpRequest& a, const HttpRequest& b) {
  OCTET_CHECK(a.method == b.method && a.path == b.path && a.query == b.query, a.path, " ", b.path);
  OCTET_CHECK(a.body == b.body, a.body.size(), " ", b.body.size());
  OCTET_CHECK(a.headers == b.headers, a.headers.size(), " ", b.headers.size());
}

}  // namespace
}  // namespace octet::router

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace octet::router;
  octet::fuzz::Input input(data, size);
  const size_t piece_bytes = 1 + input.byte();
  // A header's end last: when a broken header is refused before its end, it is by what comes at once.
  const std::string bytes = std::string(input.rest()) + "\r\n\r\n";
  const Seen whole = read(bytes, bytes.size());
  const Seen pieces = read(bytes, piece_bytes);
  // Where exactly the header's limit lies is Beast's, and depends on the cuts.
  if (whole.failure == 431 || pieces.failure == 431) return 0;
  OCTET_CHECK(whole.requests.size() == pieces.requests.size(), whole.requests.size(), " ",
              pieces.requests.size());
  for (size_t i = 0; i < whole.requests.size(); ++i) check_equal(whole.requests[i], pieces.requests[i]);
  // Of several things that are wrong, the first to be seen is told; the last bytes of chunks wait for more.
  if (whole.in_body || pieces.in_body) return 0;
  OCTET_CHECK((whole.failure == 0) == (pieces.failure == 0), whole.failure, " ", pieces.failure);
  return 0;
}
