// A program that a test starts, whose stderr it reads line by line. Whatever it waits for has a deadline that
// ends the test program; a child that is still there at the end is killed.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <optional>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/clock.h"

namespace octet {

class ChildProcess {
 public:
  explicit ChildProcess(std::vector<std::string> command) {
    int ends[2];
    OCTET_CHECK(pipe2(ends, O_CLOEXEC) == 0);
    std::vector<char*> arguments;
    arguments.reserve(command.size() + 1);
    for (std::string& word : command) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    pid_ = fork();
    OCTET_CHECK(pid_ >= 0);
    if (pid_ == 0) {
      dup2(ends[1], STDERR_FILENO);
      execv(arguments[0], arguments.data());
      _exit(127);
    }
    close(ends[1]);
    stderr_ = ends[0];
  }
  ~ChildProcess() {
    if (!exit_code_) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    close(stderr_);
  }
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  void signal(int number) const { kill(pid_, number); }

  // The next line of stderr that contains text; absent when stderr ends before.
  std::optional<std::string> find_line(const std::string& text) {
    for (;;) {
      auto line = next_line();
      if (!line || line->find(text) != std::string::npos) return line;
    }
  }

  // Waits for the end. 128 + the signal's number when one ended it.
  int wait() {
    while (next_line()) continue;
    int status = 0;
    OCTET_CHECK(waitpid(pid_, &status, 0) == pid_);
    exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return *exit_code_;
  }

  // All lines so far.
  const std::string& output() const { return output_; }

 private:
  std::optional<std::string> next_line() {
    const Time deadline = now() + std::chrono::seconds(60);
    for (;;) {
      const size_t end = output_.find('\n', num_taken_);
      if (end != std::string::npos) {
        std::string line = output_.substr(num_taken_, end - num_taken_);
        num_taken_ = end + 1;
        return line;
      }
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - now()).count();
      pollfd ready{.fd = stderr_, .events = POLLIN, .revents = 0};
      OCTET_CHECK(left > 0 && poll(&ready, 1, static_cast<int>(left)) == 1,
                  "no output in time after: ", output_);
      char bytes[4096];
      const ssize_t count = read(stderr_, bytes, sizeof bytes);
      if (count <= 0) return std::nullopt;
      output_.append(bytes, static_cast<size_t>(count));
    }
  }

  pid_t pid_ = 0;
  int stderr_ = -1;
  std::string output_;
  size_t num_taken_ = 0;
  std::optional<int> exit_code_;
};

}  // namespace octet
