#include "router/access/access.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status.h"

namespace octet::router {
namespace {

constexpr const char* kFlag = "--api-keys";
constexpr size_t kMaxFileBytes = 64 << 20;
constexpr std::string_view kScheme = "Bearer ";

const char* name_of(Scope scope) {
  return scope == Scope::kInference ? "inference" : "admin";
}

}  // namespace

absl::StatusOr<std::unique_ptr<Access>> Access::open(const std::string& path, RouterMetrics& metrics,
                                                     Duration look_period) {
  auto access = std::unique_ptr<Access>(new Access(path, metrics, look_period));
  auto keys = access->load();
  if (!keys.ok()) return keys.status();
  if ((*keys)->size() == 0) return invalid_field(kFlag, absl::StrCat(path, " holds no key"));
  access->keys_ = *std::move(keys);
  return access;
}

absl::StatusOr<std::shared_ptr<const ApiKeys>> Access::load() const {
  const auto text = read_small_file(path_, kMaxFileBytes);
  if (!text.ok()) return invalid_field(kFlag, text_of(text.status()));
  auto keys = ApiKeys::parse(*text);
  if (!keys.ok()) return invalid_field(kFlag, absl::StrCat(path_, " ", keys.status().message()));
  return std::make_shared<const ApiKeys>(*std::move(keys));
}

std::shared_ptr<const ApiKeys> Access::keys() {
  const std::lock_guard lock(mutex_);
  if (!watch_.changed()) return keys_;
  auto keys = load();
  if (keys.ok()) {
    keys_ = *std::move(keys);
    spdlog::info("{}: {} was read again, {} keys", kFlag, path_, keys_->size());
  } else {
    spdlog::warn("{}; the keys before stay in use", text_of(keys.status()));
  }
  return keys_;
}

absl::StatusOr<std::shared_ptr<const ApiKey>> Access::authenticate(std::string_view authorization,
                                                                   Scope scope) {
  if (authorization.empty()) {
    metrics_.count_refused_key("missing");
    return absl::UnauthenticatedError("an API key is required, as Authorization: Bearer KEY");
  }
  std::shared_ptr<const ApiKey> key;
  if (absl::StartsWithIgnoreCase(absl_view(authorization), absl_view(kScheme)))
    key = keys()->find(authorization.substr(kScheme.size()));
  if (key == nullptr) {
    metrics_.count_refused_key("unknown");
    return absl::UnauthenticatedError("the API key is not valid");
  }
  if (!key->may(scope)) {
    metrics_.count_refused_key("scope");
    return absl::PermissionDeniedError(absl::StrCat("the API key has not the scope ", name_of(scope)));
  }
  return key;
}

Quota Access::quota_of(const std::string& tenant) {
  return keys()->quota_of(tenant);
}

}  // namespace octet::router
