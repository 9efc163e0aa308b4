// What is known of each byte of a block's shared memory: whether it was written, and by whom in which
// interval between barriers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace cuda_emulator {

// A thread and the barriers that it has passed.
struct ThreadPlace {
  uint32_t thread = 0;
  uint32_t warp = 0;
  uint32_t interval = 0;       // of the block
  uint32_t warp_interval = 0;  // of its warp
};

enum class Access {
  kRead,
  kWrite,
  kAtomic,  // reads and writes in one step, which no other atomic one races with
};

class SharedShadow {
 public:
  explicit SharedShadow(size_t num_bytes) : bytes_(num_bytes) {}
  size_t num_bytes() const { return bytes_.size(); }

  // Takes note of an access inside the memory. What is wrong with it, or nothing.
  std::optional<std::string> access(size_t offset, size_t num_bytes, Access access, const ThreadPlace& place);

  // Whether an asynchronous copy is writing these bytes.
  void set_in_flight(size_t offset, size_t num_bytes, bool in_flight);

 private:
  struct Byte {
    bool written = false;
    bool read = false;
    bool in_flight = false;
    bool is_atomic = false;  // what the last writer did
    ThreadPlace writer;
    ThreadPlace reader;  // the last one
  };
  std::vector<Byte> bytes_;
};

}  // namespace cuda_emulator
