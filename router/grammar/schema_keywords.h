// The keywords of one JSON schema object, read by name and type: knows which of them nobody asked for, as
// annotations do not count. The first error is kept.
#pragma once

#include <boost/json.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace octet::router {

class SchemaKeywords {
 public:
  // path: of the schema, as a JSON pointer.
  SchemaKeywords(const boost::json::object& schema, std::string path);

  bool has(std::string_view keyword) const { return schema_.contains(view(keyword)); }
  bool has_any(std::initializer_list<std::string_view> keywords) const;
  // Nothing when absent, or of the wrong type, which is an error.
  const boost::json::value* any(std::string_view keyword);
  const boost::json::object* object(std::string_view keyword);
  const boost::json::array* array(std::string_view keyword);
  std::optional<std::string_view> string(std::string_view keyword);
  std::optional<bool> boolean(std::string_view keyword);
  std::optional<uint32_t> count(std::string_view keyword);  // a whole number up to kMaxRepetitions
  // The name of a keyword that was not asked for and is no annotation.
  std::optional<std::string> unread() const;

  std::string path(std::string_view keyword) const;
  void fail(std::string_view keyword, std::string_view why);
  const absl::Status& error() const { return error_; }

 private:
  static boost::json::string_view view(std::string_view text) { return {text.data(), text.size()}; }

  const boost::json::object& schema_;
  const std::string path_;
  std::vector<std::string_view> read_;
  absl::Status error_;
};

// An error at a place of a schema, given as a JSON pointer.
absl::Status schema_error(std::string_view path, std::string_view why);

}  // namespace octet::router
