#include "router/api/grpc_wire.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/unknown_field_set.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/utf8.h"

namespace octet::router {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::UnknownField;
using google::protobuf::UnknownFieldSet;

std::string join(const std::string& path, const std::string& name) {
  return path.empty() ? name : absl::StrCat(path, ".", name);
}

absl::Status refuse_unknown_fields(const Message& message, const std::string& path) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  const UnknownFieldSet& unknown = reflection.GetUnknownFields(message);
  if (!unknown.empty()) {
    return invalid_field(path.empty() ? "request" : path,
                         absl::StrCat("unknown field number ", unknown.field(0).number()));
  }
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE || field->is_map()) continue;
    const std::string name = join(path, field->name());
    if (!field->is_repeated()) {
      absl::Status status = refuse_unknown_fields(reflection.GetMessage(message, field), name);
      if (!status.ok()) return status;
      continue;
    }
    for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
      absl::Status status = refuse_unknown_fields(reflection.GetRepeatedMessage(message, field, i),
                                                  absl::StrCat(name, "[", i, "]"));
      if (!status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

// The path of the first field of text that is not UTF-8 in bytes that did not parse. Nesting is no deeper
// than the descriptors, which do not recurse.
std::optional<std::string> find_broken_text(std::string_view bytes, const Descriptor& type,
                                            const std::string& path) {
  UnknownFieldSet fields;
  if (!fields.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return std::nullopt;
  for (int i = 0; i < fields.field_count(); ++i) {
    const UnknownField& value = fields.field(i);
    const FieldDescriptor* field = type.FindFieldByNumber(value.number());
    if (field == nullptr || value.type() != UnknownField::TYPE_LENGTH_DELIMITED) continue;
    const std::string name = join(path, field->name());
    if (field->type() == FieldDescriptor::TYPE_STRING && !is_valid_utf8(value.length_delimited()))
      return name;
    if (field->type() != FieldDescriptor::TYPE_MESSAGE) continue;
    auto found = find_broken_text(value.length_delimited(), *field->message_type(), name);
    if (found) return found;
  }
  return std::nullopt;
}

std::string to_string(const grpc::ByteBuffer& bytes) {
  std::vector<grpc::Slice> slices;
  std::string result;
  if (!bytes.Dump(&slices).ok()) return result;
  result.reserve(bytes.Length());
  for (const grpc::Slice& slice : slices)
    result.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return result;
}

}  // namespace

absl::Status parse(const grpc::ByteBuffer& bytes, Message& message) {
  const std::string text = to_string(bytes);
  if (message.ParseFromString(text)) return refuse_unknown_fields(message, "");
  const auto broken = find_broken_text(text, *message.GetDescriptor(), "");
  if (broken) return invalid_field(*broken, "the text is not UTF-8");
  return invalid_field("request", absl::StrCat("the bytes are not a ", message.GetDescriptor()->full_name()));
}

grpc::ByteBuffer serialize(const Message& message) {
  const grpc::Slice slice(message.SerializeAsString());
  return grpc::ByteBuffer(&slice, 1);
}

}  // namespace octet::router
