// Runs one block of a kernel: its threads are fibers that take turns, each until it waits or ends.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tests/cuda_emulator/include/cuda_runtime.h"
#include "tests/cuda_emulator/shared_shadow.h"
#include "tests/cuda_emulator/traffic.h"

namespace cuda_emulator {

constexpr int kWarpSize = 32;
constexpr size_t kMaxSharedBytes = 227 * 1024;     // of a block, as on sm_90
constexpr size_t kDefaultSharedBytes = 48 * 1024;  // without cudaFuncSetAttribute()
constexpr unsigned int kMaxThreads = 1024;

// A kernel with its arguments.
struct Kernel {
  dim3 grid;
  dim3 block;
  size_t shared_bytes = 0;
  int device = 0;
  Traffic* traffic = nullptr;  // to count in, or nullptr
  void* call = nullptr;
  size_t call_bytes = 0;
  void (*run)(void* call) = nullptr;
};

// What a warp computes together, from what each of its lanes brought.
using WarpOperation = void (*)(void* const (&operands)[kWarpSize]);

class Block {
 public:
  Block(const Kernel& kernel, uint3 index);
  ~Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  // Runs all threads. What one of them did wrong, or nothing; the block ends there.
  std::optional<std::string> run();

  // Called by the running thread of the block, on its fiber.
  struct Thread;
  uint3 thread_index() const;
  uint3 index() const { return index_; }
  const Kernel& kernel() const { return kernel_; }
  void synchronize(const Where& where);
  bool synchronize_or(bool predicate, const Where& where);
  void synchronize_warp(unsigned int mask, const Where& where);
  uint32_t exchange(unsigned int mask, uint32_t bits, int source, const Where& where);
  unsigned int vote(unsigned int mask, bool predicate, const Where& where);
  // All lanes of the warp come to it; one runs the operation for all.
  void compute_together(WarpOperation operation, void* operands, const Where& where);
  int lane() const;

  // cp.async: the bytes arrive, zeros if not valid, when the thread waits for their group, and until then
  // nobody may touch them.
  void start_copy(void* shared, const void* global, size_t num_bytes, bool valid);
  void commit_copies();
  void wait_copies(int pending);

  static bool is_shared(const void* memory);
  // Any access of num_bytes; alignment is what it asks of the address.
  void check_access(uintptr_t address, size_t num_bytes, Access access, size_t alignment);
  // An access that asks for more alignment than the address has.
  [[noreturn]] void fail_misaligned(uintptr_t address, size_t alignment);
  // Ends the block with a fault; does not return.
  [[noreturn]] void fail(const std::string& what);

 private:
  enum class State { kReady, kAtBlock, kAtWarp, kDone };

  void prepare_threads();
  bool release_waiting();
  bool release_block();
  bool release_warp(size_t warp);
  void run_operation(size_t first);
  std::string describe_waiting() const;
  void wait(State state, unsigned int mask, const Where& where);
  ThreadPlace place() const;

  const Kernel& kernel_;
  const uint3 index_;
  std::vector<Thread> threads_;
  Thread* current_ = nullptr;
  void* scheduler_ = nullptr;  // the context that runs the fibers
  std::optional<std::string> fault_;
  SharedShadow shadow_;
  bool any_predicate_ = false;            // of the threads at the last barrier
  uint32_t interval_ = 0;                 // barriers of the block so far
  std::vector<uint32_t> warp_intervals_;  // [warps] barriers of the warp so far
  friend void run_thread(Block& block, void* scheduler);
};

// The block whose thread the calling fiber is; nullptr outside kernels.
Block* current_block();

}  // namespace cuda_emulator

// The dynamic shared memory of the running block.
extern __thread char octet_shared[];
