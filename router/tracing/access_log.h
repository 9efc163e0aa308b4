// The file of --access-log: a line for each call, written by a thread of its own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "router/metrics.h"
#include "router/tracing/batch_thread.h"
#include "router/tracing/call_record.h"

namespace octet::router {

// Lines that cannot be written are counted (octet_lost_access_log_lines_total) and are gone. A file that was
// renamed or deleted is begun anew.
class AccessLog final : public CallSink {
 public:
  // path: "-" for standard output. Errors: INVALID_ARGUMENT "--access-log: ..." that names the file.
  static absl::StatusOr<std::unique_ptr<AccessLog>> open(const std::string& path, RouterMetrics& metrics);
  ~AccessLog() override;

  void take(std::shared_ptr<const CallRecord> record) override;

 private:
  using Batch = std::vector<std::shared_ptr<const CallRecord>>;

  AccessLog(std::string path, int file, RouterMetrics& metrics);
  absl::Status open_file();
  bool is_gone() const;
  void write(const Batch& batch);
  // Errors: what the system says.
  absl::Status write_all(std::string_view text);

  const std::string path_;
  RouterMetrics& metrics_;
  // The thread's.
  int file_;
  bool failing_ = false;
  bool torn_ = false;  // the last line is not whole
  std::unique_ptr<BatchThread<std::shared_ptr<const CallRecord>>> thread_;
};

}  // namespace octet::router
