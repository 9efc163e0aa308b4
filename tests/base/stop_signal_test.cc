#include "base/stop_signal.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

namespace octet {
namespace {

// Signals are a process's, so each case runs in a child.
int exit_code_of(void (*child)()) {
  const pid_t pid = fork();
  if (pid == 0) {
    child();
    std::_Exit(99);
  }
  int status = 0;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFEXITED(status));
  return WEXITSTATUS(status);
}

TEST(StopSignalTest, WaitReturnsTheSignalThatArrived) {
  EXPECT_EQ(exit_code_of([] {
              StopSignal stop;
              kill(getpid(), SIGTERM);
              std::_Exit(stop.wait(now() + std::chrono::seconds(30)));
            }),
            SIGTERM);
}

TEST(StopSignalTest, WaitReturnsZeroAtTheDeadline) {
  EXPECT_EQ(exit_code_of([] {
              StopSignal stop;
              std::_Exit(stop.wait(now()) + 7);
            }),
            7);
}

TEST(StopSignalTest, ASecondSignalEndsTheProcess) {
  EXPECT_EQ(exit_code_of([] {
              StopSignal stop;
              kill(getpid(), SIGTERM);
              stop.wait(now() + std::chrono::seconds(30));
              kill(getpid(), SIGINT);
              pause();  // until the second signal's thread ends the process
            }),
            128 + SIGINT);
}

TEST(StopSignalTest, WritingToAClosedPipeIsNoSignal) {
  EXPECT_EQ(exit_code_of([] {
              StopSignal stop;
              int ends[2];
              if (pipe(ends) != 0) std::_Exit(1);
              close(ends[0]);
              const char byte = 0;
              std::_Exit(write(ends[1], &byte, 1) == -1 && errno == EPIPE ? 5 : 1);
            }),
            5);
}

}  // namespace
}  // namespace octet
