// Messages of generation.proto as bytes: read or refused, and what is read is within the limits.
#include <grpcpp/support/byte_buffer.h>

#include "base/check.h"
#include "router/api/grpc_convert.h"
#include "router/api/grpc_wire.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/nano.h"

namespace octet::router {
namespace {

constexpr Time kNow = Time(std::chrono::hours(1000));

template <typename Request>
bool read(std::string_view bytes, Request& request) {
  grpc::Slice slice(bytes.data(), bytes.size());
  const absl::Status status = parse(grpc::ByteBuffer(&slice, 1), request);
  OCTET_CHECK(status.ok() || absl::IsInvalidArgument(status), status);
  return status.ok();
}

template <typename Request>
void generate(std::string_view bytes) {
  Request request;
  if (read(bytes, request)) fuzz::check_validated(validate(to_draft(request), fuzz::nano_context(), kNow));
}

void tokenize(std::string_view bytes) {
  v1::TokenizeRequest request;
  if (!read(bytes, request)) return;
  const auto tokens = tokenize_prompt(to_prompt(request), /*add_bos=*/false, fuzz::nano_context());
  OCTET_CHECK(tokens.ok() ? !tokens->empty() : absl::IsInvalidArgument(tokens.status()), tokens.status());
}

}  // namespace
}  // namespace octet::router

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace octet::router;
  octet::fuzz::Input input(data, size);
  switch (input.below(3)) {
    case 0:
      generate<octet::v1::GenerateRequest>(input.rest());
      break;
    case 1:
      generate<octet::v1::ScoreRequest>(input.rest());
      break;
    default:
      tokenize(input.rest());
  }
  return 0;
}
