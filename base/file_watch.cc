#include "base/file_watch.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace octet {

absl::StatusOr<std::string> read_small_file(const std::string& path, size_t max_bytes) {
  const auto failed = [&](int error) {
    return absl::InvalidArgumentError(absl::StrCat(path, " cannot be read: ", std::strerror(error)));
  };
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return failed(errno);
  std::string text(max_bytes + 1, '\0');
  size_t num_read = 0;
  ssize_t last = 1;
  while (last > 0 && num_read < text.size()) {
    last = ::read(fd, text.data() + num_read, text.size() - num_read);
    if (last > 0) num_read += static_cast<size_t>(last);
  }
  const int error = errno;
  ::close(fd);
  if (last < 0) return failed(error);
  if (num_read > max_bytes)
    return absl::InvalidArgumentError(absl::StrCat(path, " is larger than ", max_bytes, " bytes"));
  text.resize(num_read);
  return text;
}

FileWatch::FileWatch(std::vector<std::string> paths, Duration look_period)
    : paths_(std::move(paths)), look_period_(look_period), seen_(stamp()), last_look_(now()) {}

bool FileWatch::changed() {
  if (now() - last_look_ < look_period_) return false;
  last_look_ = now();
  Stamp newest = stamp();
  if (newest == seen_) return false;
  seen_ = std::move(newest);
  return true;
}

FileWatch::Stamp FileWatch::stamp() const {
  Stamp result;
  for (const std::string& path : paths_) {
    if (path.empty()) continue;
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) status = {};
    result.emplace_back(status.st_dev, status.st_ino, status.st_size, status.st_mtim.tv_sec,
                        status.st_mtim.tv_nsec);
  }
  return result;
}

}  // namespace octet
