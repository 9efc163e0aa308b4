#include "router/access/api_keys.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <cmath>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/check.h"
#include "base/status.h"

namespace octet::router {
namespace {

namespace json = boost::json;

constexpr std::string_view kPrefix = "octet-";
constexpr size_t kIdBytes = 8;
constexpr size_t kSecretBytes = 32;
constexpr size_t kIdDigits = 2 * kIdBytes;
constexpr size_t kSecretDigits = 2 * kSecretBytes;
constexpr size_t kKeyLength = kPrefix.size() + kIdDigits + 1 + kSecretDigits;
constexpr size_t kMaxNameLength = 64;
constexpr double kMaxWeight = 1e6;

std::string sha256(std::string_view text) {
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(),
         reinterpret_cast<unsigned char*>(digest.data()));
  return digest;
}

bool is_hex(std::string_view text, size_t num_digits) {
  return text.size() == num_digits && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

std::string random_hex(size_t num_bytes) {
  std::vector<unsigned char> bytes(num_bytes);
  OCTET_CHECK(RAND_bytes(bytes.data(), static_cast<int>(num_bytes)) == 1, "the system has no random numbers");
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

absl::Status check_name(std::string_view name) {
  const auto fits = [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.';
  };
  if (name.empty() || name.size() > kMaxNameLength || !std::all_of(name.begin(), name.end(), fits)) {
    return invalid_field("name", absl::StrCat("must be 1 to ", kMaxNameLength,
                                              " letters, digits, dots, dashes or underscores"));
  }
  return absl::OkStatus();
}

// One line's fields. A getter that finds something else than its kind keeps that as the error.
class Line {
 public:
  explicit Line(json::object object) : object_(std::move(object)) {}

  std::string text(std::string_view name) {
    const json::value* value = take(name);
    if (value == nullptr) return refuse(name, "required"), "";
    if (!value->is_string()) return refuse(name, "must be a string"), "";
    return std::string(value->get_string().c_str(), value->get_string().size());
  }

  double number(std::string_view name, double fallback, double max) {
    const json::value* value = take(name);
    if (value == nullptr) return fallback;
    boost::system::error_code error;
    const double number = value->to_number<double>(error);
    if (error || !(number > 0) || number > max) refuse(name, absl::StrCat("must be above 0, at most ", max));
    return number;
  }

  std::optional<int64_t> integer(std::string_view name, int64_t min, int64_t max) {
    const json::value* value = take(name);
    if (value == nullptr) return std::nullopt;
    boost::system::error_code error;
    const auto number = value->is_double() ? min - 1 : value->to_number<int64_t>(error);
    if (error || number < min || number > max)
      refuse(name, absl::StrCat("must be a whole number of ", min, " to ", max));
    return number;
  }

  std::vector<std::string> texts(std::string_view name, std::vector<std::string> fallback) {
    const json::value* value = take(name);
    if (value == nullptr) return fallback;
    std::vector<std::string> result;
    if (value->is_array()) {
      for (const json::value& entry : value->get_array()) {
        if (entry.is_string()) result.emplace_back(entry.get_string().c_str(), entry.get_string().size());
      }
    }
    if (!value->is_array() || result.size() != value->get_array().size())
      refuse(name, "must be an array of strings");
    return result;
  }

  void refuse(std::string_view name, std::string_view what) {
    if (error_.ok()) error_ = invalid_field(name, what);
  }
  // After all fields were asked for.
  absl::Status finish() {
    for (const auto& field : object_) {
      const std::string name(field.key_c_str(), field.key().size());
      if (std::find(asked_.begin(), asked_.end(), name) == asked_.end()) refuse(name, "unknown field");
    }
    return error_;
  }

 private:
  const json::value* take(std::string_view name) {
    asked_.emplace_back(name);
    return object_.if_contains(json::string_view(name.data(), name.size()));
  }

  const json::object object_;
  std::vector<std::string> asked_;
  absl::Status error_;
};

absl::StatusOr<json::object> parse_object(std::string_view line) {
  boost::system::error_code error;
  json::value value = json::parse(json::string_view(line.data(), line.size()), error);
  if (error || !value.is_object()) return absl::InvalidArgumentError("not a JSON object");
  return std::move(value.get_object());
}

}  // namespace

absl::Status ApiKeys::add(std::string_view text) {
  auto object = parse_object(text);
  if (!object.ok()) return object.status();
  Line line(*std::move(object));
  const std::string id = line.text("id");
  const std::string digest = line.text("sha256");
  ApiKey key;
  key.tenant.name = line.text("name");
  key.tenant.weight = line.number("weight", 1, kMaxWeight);
  key.tenant.best_priority =
      static_cast<int32_t>(line.integer("best_priority", kMinPriority, kMaxPriority).value_or(0));
  const auto per_minute = [&](std::string_view name) -> std::optional<uint32_t> {
    const auto number = line.integer(name, 1, UINT32_MAX);
    return number ? std::optional(static_cast<uint32_t>(*number)) : std::nullopt;
  };
  key.quota = {per_minute("requests_per_minute"), per_minute("tokens_per_minute")};
  for (const std::string& scope : line.texts("scopes", {"inference"})) {
    if (scope == "inference") {
      key.may_infer = true;
    } else if (scope == "admin") {
      key.may_administer = true;
    } else {
      line.refuse("scopes", "only inference and admin are known");
    }
  }
  if (absl::Status status = line.finish(); !status.ok()) return status;
  if (!is_hex(id, kIdDigits)) return invalid_field("id", "must be 16 hexadecimal digits");
  if (!is_hex(digest, 2 * SHA256_DIGEST_LENGTH))
    return invalid_field("sha256", "must be 64 hexadecimal digits");
  if (absl::Status status = check_name(key.tenant.name); !status.ok()) return status;
  if (by_id_.contains(id)) return invalid_field("id", "given before");
  const auto shared = std::make_shared<const ApiKey>(std::move(key));
  const ApiKey& first = *by_tenant_.emplace(shared->tenant.name, shared).first->second;
  if (first.quota != shared->quota || first.tenant.weight != shared->tenant.weight)
    return invalid_field("name", "another key of that name has another weight or quota");
  by_id_.emplace(id, Entry{absl::HexStringToBytes(digest), shared});
  return absl::OkStatus();
}

absl::StatusOr<ApiKeys> ApiKeys::parse(std::string_view text) {
  ApiKeys keys;
  int number = 0;
  for (const absl::string_view raw : absl::StrSplit(absl_view(text), '\n')) {
    ++number;
    const absl::string_view line = absl::StripAsciiWhitespace(raw);
    if (line.empty() || line.front() == '#') continue;
    if (absl::Status status = keys.add({line.data(), line.size()}); !status.ok())
      return absl::InvalidArgumentError(absl::StrCat("line ", number, ": ", status.message()));
  }
  return keys;
}

std::shared_ptr<const ApiKey> ApiKeys::find(std::string_view presented) const {
  if (presented.size() != kKeyLength || !presented.starts_with(kPrefix)) return nullptr;
  const auto found = by_id_.find(std::string(presented.substr(kPrefix.size(), kIdDigits)));
  // An unknown id costs a hash and a comparison too.
  static const Entry kNobody{std::string(SHA256_DIGEST_LENGTH, '\0'), nullptr};
  const Entry& entry = found == by_id_.end() ? kNobody : found->second;
  const std::string digest = sha256(presented);
  return CRYPTO_memcmp(digest.data(), entry.sha256.data(), digest.size()) == 0 ? entry.key : nullptr;
}

Quota ApiKeys::quota_of(const std::string& tenant) const {
  const auto found = by_tenant_.find(tenant);
  return found == by_tenant_.end() ? Quota() : found->second->quota;
}

absl::StatusOr<NewApiKey> make_api_key(const std::string& tenant) {
  if (absl::Status status = check_name(tenant); !status.ok()) return status;
  const std::string id = random_hex(kIdBytes);
  const std::string key = absl::StrCat(absl_view(kPrefix), id, "-", random_hex(kSecretBytes));
  return NewApiKey{key,
                   absl::StrCat(R"({"id": ")", id, R"(", "sha256": ")", absl::BytesToHexString(sha256(key)),
                                R"(", "name": ")", tenant, R"(", "scopes": ["inference"]})")};
}

}  // namespace octet::router
