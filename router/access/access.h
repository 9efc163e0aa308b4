// Who may call: the API keys of a file, read again when it changes.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/file_watch.h"
#include "router/access/api_keys.h"
#include "router/metrics.h"

namespace octet::router {

// From any thread. metrics must outlive it.
class Access {
 public:
  // Errors: INVALID_ARGUMENT "--api-keys: ..." that names the file, and the line.
  static absl::StatusOr<std::unique_ptr<Access>> open(const std::string& path, RouterMetrics& metrics,
                                                      Duration look_period = std::chrono::seconds(1));

  // authorization: what the client sent under that name, empty when nothing. Errors: UNAUTHENTICATED, and
  // PERMISSION_DENIED for a key without the scope; counted.
  absl::StatusOr<std::shared_ptr<const ApiKey>> authenticate(std::string_view authorization, Scope scope);
  Quota quota_of(const std::string& tenant);

 private:
  Access(const std::string& path, RouterMetrics& metrics, Duration look_period)
      : path_(path), metrics_(metrics), watch_({path}, look_period) {}
  absl::StatusOr<std::shared_ptr<const ApiKeys>> load() const;
  // The newest that could be used.
  std::shared_ptr<const ApiKeys> keys();

  const std::string path_;
  RouterMetrics& metrics_;
  std::mutex mutex_;  // guards what follows
  FileWatch watch_;
  std::shared_ptr<const ApiKeys> keys_;
};

}  // namespace octet::router
