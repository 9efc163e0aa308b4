// Reads the members of a JSON object by name and type, and knows which of them nobody asked for. The first
// error is kept and names its field; null counts as absent.
#pragma once

#include <boost/json/fwd.hpp>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace octet::router {

class JsonFields {
 public:
  // The object must outlive this. parent is put before the names in errors: "messages[0]" gives
  // "messages[0].role".
  explicit JsonFields(const boost::json::object& object, std::string parent = "");

  std::optional<std::string> string(std::string_view name);
  std::optional<bool> boolean(std::string_view name);
  std::optional<double> number(std::string_view name);
  // A number written without fraction and exponent, in the range of the type.
  std::optional<int64_t> integer(std::string_view name);
  std::optional<uint64_t> unsigned_integer(std::string_view name);
  // Empty when absent.
  std::vector<std::string> strings(std::string_view name);
  std::vector<int64_t> integers(std::string_view name);
  // A string alone counts as a list of one.
  std::vector<std::string> string_or_strings(std::string_view name);
  // {"123": 1.5}
  std::map<int64_t, double> numbers_by_integer(std::string_view name);
  const boost::json::object* object(std::string_view name);
  // Any type; null when absent.
  const boost::json::value* any(std::string_view name);

  // A field that Octet knows and does not offer: refused unless it is absent or equal to neutral, the value
  // that asks for nothing.
  void refuse(std::string_view name);
  void refuse_unless(std::string_view name, const boost::json::value& neutral);

  // Keeps the error if it is the first. message as in invalid_field().
  void fail(std::string_view name, std::string_view message);
  void fail(const absl::Status& status);
  bool ok() const { return error_.ok(); }
  // The first error; or the first member that was never asked for: "unknown field 'foo'".
  absl::Status finish() const;

 private:
  std::string path(std::string_view name) const;
  void fail_type(std::string_view name, std::string_view expected, const boost::json::value& value);

  const boost::json::object& object_;
  const std::string parent_;
  std::vector<std::string_view> known_;
  absl::Status error_;
};

// What a value is, for error messages: "a string", "a number", "an array".
std::string_view json_type_name(const boost::json::value& value);

}  // namespace octet::router
