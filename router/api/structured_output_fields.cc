#include "router/api/structured_output_fields.h"

#include <boost/json.hpp>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "router/api/json_text.h"

namespace octet::router {
namespace {

namespace json = boost::json;
using Kind = StructuredOutput::Kind;

// Collects what is given, under the names of the fields it is given by.
class Reader {
 public:
  explicit Reader(JsonFields& request) : request_(request) {}

  void add(Kind kind, std::string source, std::string field) {
    add({.kind = kind, .source = std::move(source), .choices = {}, .field = std::move(field)});
  }

  // A schema as an object, or as a text that holds one.
  void add_schema(JsonFields& fields, const char* name, const std::string& path) {
    const json::value* const schema = fields.any(name);
    if (schema == nullptr) return;
    const json::string* const text = schema->if_string();
    add(Kind::kJsonSchema, text != nullptr ? std::string(text->data(), text->size()) : json_text(*schema),
        path);
  }

  void add_text(JsonFields& fields, const char* name, Kind kind, const std::string& path) {
    if (std::optional<std::string> source = fields.string(name)) add(kind, *std::move(source), path);
  }

  void add_choices(JsonFields& fields, const char* name, const std::string& path) {
    if (fields.any(name) == nullptr) return;
    add({.kind = Kind::kChoice, .source = "", .choices = fields.strings(name), .field = path});
  }

  std::optional<StructuredOutput> take() { return std::move(output_); }

 private:
  void add(StructuredOutput output) {
    if (output_) {
      request_.fail(
          invalid_field(output.field, absl::StrCat("is not allowed together with ", output_->field)));
    }
    output_ = std::move(output);
  }

  JsonFields& request_;
  std::optional<StructuredOutput> output_;
};

void read_response_format(JsonFields& request, Reader& reader) {
  const json::object* const format = request.object("response_format");
  if (format == nullptr) return;
  JsonFields fields(*format, "response_format");
  const std::string type = fields.string("type").value_or("");
  if (type == "json_object") {
    reader.add(Kind::kJsonObject, "", "response_format");
  } else if (type == "json_schema") {
    if (const json::object* named = fields.object("json_schema")) {
      const std::string path = "response_format.json_schema";
      JsonFields schema(*named, path);
      // They change nothing: what a schema asks for is kept in any case.
      schema.string("name");
      schema.string("description");
      schema.boolean("strict");
      if (schema.any("schema") == nullptr) schema.fail("schema", "is required");
      reader.add_schema(schema, "schema", path + ".schema");
      fields.fail(schema.finish());
    } else {
      fields.fail("json_schema", "is required");
    }
  } else if (type != "text") {
    fields.fail("type", "must be \"text\", \"json_object\" or \"json_schema\"");
  }
  request.fail(fields.finish());
}

void read_structured_outputs(JsonFields& request, Reader& reader) {
  const json::object* const outputs = request.object("structured_outputs");
  if (outputs == nullptr) return;
  JsonFields fields(*outputs, "structured_outputs");
  reader.add_schema(fields, "json", "structured_outputs.json");
  reader.add_text(fields, "regex", Kind::kRegex, "structured_outputs.regex");
  reader.add_text(fields, "grammar", Kind::kGrammar, "structured_outputs.grammar");
  reader.add_choices(fields, "choice", "structured_outputs.choice");
  if (fields.boolean("json_object").value_or(false)) {
    reader.add(Kind::kJsonObject, "", "structured_outputs.json_object");
  }
  request.fail(fields.finish());
}

}  // namespace

std::optional<StructuredOutput> read_structured_output(JsonFields& fields) {
  Reader reader(fields);
  read_response_format(fields, reader);
  read_structured_outputs(fields, reader);
  reader.add_schema(fields, "guided_json", "guided_json");
  reader.add_text(fields, "guided_regex", Kind::kRegex, "guided_regex");
  reader.add_text(fields, "guided_grammar", Kind::kGrammar, "guided_grammar");
  reader.add_choices(fields, "guided_choice", "guided_choice");
  return reader.take();
}

}  // namespace octet::router
