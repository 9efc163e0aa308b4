// Messages from and to their bytes. The service takes bytes and parses them here, because gRPC answers what
// it cannot parse with an UNIMPLEMENTED that says nothing.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include "absl/status/status.h"

namespace google::protobuf {
class Message;
}

namespace octet::router {

// Fills message. Errors: invalid_field() naming the field whose text is not UTF-8, the message that has a
// field number which generation.proto does not know, or "request" when the bytes are no such message.
absl::Status parse(const grpc::ByteBuffer& bytes, google::protobuf::Message& message);

grpc::ByteBuffer serialize(const google::protobuf::Message& message);

}  // namespace octet::router
