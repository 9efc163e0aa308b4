#include "router/tracing/access_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status.h"
#include "router/tracing/access_log_line.h"

namespace octet::router {
namespace {

constexpr const char* kFlag = "--access-log";
constexpr const char* kStandardOutput = "-";
constexpr mode_t kMode = 0640;
constexpr BatchLimits kLimits{
    .max_waiting = 16384, .max_batch = 1024, .max_delay = std::chrono::milliseconds(100)};

int open_to_append(const std::string& path) {
  return ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, kMode);
}

}  // namespace

absl::StatusOr<std::unique_ptr<AccessLog>> AccessLog::open(const std::string& path, RouterMetrics& metrics) {
  const int file = path == kStandardOutput ? STDOUT_FILENO : open_to_append(path);
  if (file < 0) return invalid_field(kFlag, absl::StrCat(path, " cannot be opened: ", std::strerror(errno)));
  return std::unique_ptr<AccessLog>(new AccessLog(path, file, metrics));
}

AccessLog::AccessLog(std::string path, int file, RouterMetrics& metrics)
    : path_(std::move(path)),
      metrics_(metrics),
      file_(file),
      thread_(std::make_unique<BatchThread<std::shared_ptr<const CallRecord>>>(
          kLimits, [this](const Batch& batch) { write(batch); })) {}

AccessLog::~AccessLog() {
  thread_.reset();
  if (file_ >= 0 && file_ != STDOUT_FILENO) ::close(file_);
}

void AccessLog::take(std::shared_ptr<const CallRecord> record) {
  if (!thread_->push(std::move(record))) metrics_.lost_access_log_lines.Increment();
}

// The file is not the one of this name any more: it was rotated.
bool AccessLog::is_gone() const {
  if (path_ == kStandardOutput) return false;
  struct stat opened {};
  struct stat named {};
  return file_ < 0 || ::fstat(file_, &opened) != 0 || ::stat(path_.c_str(), &named) != 0 ||
         opened.st_ino != named.st_ino || opened.st_dev != named.st_dev;
}

void AccessLog::write(const Batch& batch) {
  std::string text = torn_ ? "\n" : "";
  for (const auto& record : batch) absl::StrAppend(&text, access_log_line(*record), "\n");
  absl::Status status = is_gone() ? open_file() : absl::OkStatus();
  if (status.ok()) status = write_all(text);
  if (!status.ok()) metrics_.lost_access_log_lines.Increment(static_cast<double>(batch.size()));
  if (!status.ok() && !failing_) spdlog::warn("{}: lines are lost: {}", kFlag, text_of(status));
  if (status.ok() && failing_) spdlog::info("{}: lines are written again", kFlag);
  failing_ = !status.ok();
}

absl::Status AccessLog::open_file() {
  if (file_ >= 0) ::close(file_);
  file_ = open_to_append(path_);
  torn_ = false;
  return file_ >= 0 ? absl::OkStatus() : absl::UnavailableError(std::strerror(errno));
}

absl::Status AccessLog::write_all(std::string_view text) {
  while (!text.empty()) {
    const ssize_t num_written = ::write(file_, text.data(), text.size());
    if (num_written < 0 && errno == EINTR) continue;
    if (num_written < 0) return absl::UnavailableError(std::strerror(errno));
    text.remove_prefix(static_cast<size_t>(num_written));
    torn_ = !text.empty();
  }
  return absl::OkStatus();
}

}  // namespace octet::router
