// Operations on the lead's scheduler, whose plans a fake stage computes: tests/worker/lead/random_work.h says
// what must hold, and the input takes the place of chance.
#include <gtest/gtest.h>

#include "tests/fuzz/input.h"
#include "tests/worker/lead/random_work.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  testing::GTEST_FLAG(break_on_failure) = true;
  octet::fuzz::Input input(data, size);
  octet::worker::Coverage coverage;
  octet::worker::RandomWork work([&](uint32_t end) { return input.below(end); }, coverage);
  // An action takes a byte or more. More of them take long and show nothing new.
  work.run(static_cast<int>(std::min<size_t>(size, 100)));
  return 0;
}
