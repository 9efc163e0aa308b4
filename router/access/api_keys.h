// API keys: who a client is, what it may do and how much. The file holds hashes, one JSON object a line:
//   {"id": "0123456789abcdef", "sha256": "64 hex digits", "name": "team-a", "weight": 1, "best_priority": 0,
//    "requests_per_minute": 600, "tokens_per_minute": 100000, "scopes": ["inference", "admin"]}
// Only id, sha256 and name are required. Empty lines and lines that begin with # are left out.
//
// A key is "octet-ID-SECRET" with 64 and 256 random bits, made by make_api_key(): no key can be guessed, so a
// fast hash keeps it; the id, which is hashed with it, is its salt, and finds its line with one hash.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "router/request/tenant.h"

namespace octet::router {

enum class Scope {
  kInference,  // everything that clients call
  kAdmin,      // what tells of all tenants
};

// Of a tenant, over all of its keys. Empty: no limit.
struct Quota {
  std::optional<uint32_t> requests_per_minute;
  std::optional<uint32_t> tokens_per_minute;  // of prompts and of answers
  bool operator==(const Quota&) const = default;
};

struct ApiKey {
  Tenant tenant;
  Quota quota;
  bool may_infer = false;
  bool may_administer = false;

  bool may(Scope scope) const { return scope == Scope::kInference ? may_infer : may_administer; }
};

class ApiKeys {
 public:
  // The lines of a file. Errors: INVALID_ARGUMENT that names line and field.
  static absl::StatusOr<ApiKeys> parse(std::string_view text);

  // The key that the client presents, or null. The time that it takes tells nothing of the secrets.
  std::shared_ptr<const ApiKey> find(std::string_view presented) const;
  // Of the tenant; without limits when no key has that name.
  Quota quota_of(const std::string& tenant) const;
  size_t size() const { return by_id_.size(); }

 private:
  struct Entry {
    std::string sha256;  // 32 bytes
    std::shared_ptr<const ApiKey> key;
  };
  absl::Status add(std::string_view line);

  std::unordered_map<std::string, Entry> by_id_;
  std::unordered_map<std::string, std::shared_ptr<const ApiKey>> by_tenant_;  // any of the tenant's keys
};

struct NewApiKey {
  std::string key;   // for the client; nobody can find it again
  std::string line;  // for the file
};
// Errors: INVALID_ARGUMENT for a name that a file would not hold.
absl::StatusOr<NewApiKey> make_api_key(const std::string& tenant);

}  // namespace octet::router
