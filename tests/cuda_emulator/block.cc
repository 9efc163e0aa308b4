#include "tests/cuda_emulator/block.h"

#include <boost/context/detail/fcontext.hpp>
#include <cstring>
#include <deque>
#include <memory>

#include "tests/cuda_emulator/device_memory.h"

alignas(1024) __thread char octet_shared[cuda_emulator::kMaxSharedBytes];
__thread uint3 threadIdx;
__thread uint3 blockIdx;
__thread dim3 blockDim;
__thread dim3 gridDim;

// Of the program's own constants, which a kernel may read.
extern "C" {
extern char __executable_start;  // NOLINT(bugprone-reserved-identifier): the linker's name
extern char end;
}

namespace cuda_emulator {
namespace {

using boost::context::detail::fcontext_t;
using boost::context::detail::jump_fcontext;
using boost::context::detail::make_fcontext;
using boost::context::detail::transfer_t;

constexpr size_t kStackBytes = 32 * 1024;
thread_local Block* running_block = nullptr;

// Stacks of the fibers of one host thread. A fiber that a fault leaves behind is forgotten: kernels own
// nothing.
char* stack(size_t thread) {
  thread_local std::vector<std::unique_ptr<char[]>> stacks;
  while (stacks.size() <= thread) stacks.push_back(std::make_unique<char[]>(kStackBytes));
  return stacks[thread].get();
}

uintptr_t address_of(const void* memory) {
  return reinterpret_cast<uintptr_t>(memory);
}
bool holds(const void* memory, size_t size, uintptr_t address, size_t num_bytes) {
  return address >= address_of(memory) && address + num_bytes <= address_of(memory) + size;
}
// The running thread's own indices and sizes.
bool is_index(uintptr_t address, size_t num_bytes) {
  return holds(&threadIdx, sizeof threadIdx, address, num_bytes) ||
         holds(&blockIdx, sizeof blockIdx, address, num_bytes) ||
         holds(&blockDim, sizeof blockDim, address, num_bytes) ||
         holds(&gridDim, sizeof gridDim, address, num_bytes);
}
std::string text(const Where& where) {
  const std::string file = where.file;
  return file.substr(file.rfind('/') + 1) + ":" + std::to_string(where.line);
}
std::string text(uint3 i) {
  return "(" + std::to_string(i.x) + ", " + std::to_string(i.y) + ", " + std::to_string(i.z) + ")";
}

}  // namespace

// A cp.async that has been issued and not waited for.
struct AsyncCopy {
  size_t offset = 0;           // in shared memory
  const void* from = nullptr;  // nullptr: zeros
  size_t num_bytes = 0;
  uint64_t group = 0;
};

struct Block::Thread {
  fcontext_t context = nullptr;
  State state = State::kReady;
  uint32_t number = 0;
  unsigned int mask = 0;  // of the warp's lanes that it waits for
  Where where;
  uint32_t bits = 0;                  // given to the other lanes
  uint32_t received = 0;              // its bits as they were when the lanes last met
  WarpOperation operation = nullptr;  // that it waits for, with:
  void* operands = nullptr;
  std::deque<AsyncCopy> copies;
  uint64_t num_groups = 0;  // of copies, committed
};

Block* current_block() {
  return running_block;
}

// What a fiber does, from its first turn to its last; scheduler is where it goes back to.
void run_thread(Block& block, void* scheduler) {
  block.scheduler_ = scheduler;
  block.kernel_.run(block.kernel_.call);
  if (!block.current_->copies.empty()) block.fail("ends before its asynchronous copies have");
  block.current_->state = Block::State::kDone;
  jump_fcontext(static_cast<fcontext_t>(block.scheduler_), nullptr);
}

namespace {

void fiber_main(transfer_t from) {
  run_thread(*static_cast<Block*>(from.data), from.fctx);
}

}  // namespace

Block::Block(const Kernel& kernel, uint3 index)
    : kernel_(kernel),
      index_(index),
      threads_(size_t{kernel.block.x} * kernel.block.y * kernel.block.z),
      shadow_(kernel.shared_bytes),
      warp_intervals_((threads_.size() + kWarpSize - 1) / kWarpSize) {}

Block::~Block() = default;

void Block::prepare_threads() {
  for (size_t i = 0; i < threads_.size(); ++i) {
    threads_[i].number = static_cast<uint32_t>(i);
    threads_[i].context = make_fcontext(stack(i) + kStackBytes, kStackBytes, fiber_main);
  }
  std::memset(octet_shared, 0xff, kernel_.shared_bytes);
}

std::optional<std::string> Block::run() {
  prepare_threads();
  running_block = this;
  blockIdx = index_;
  blockDim = kernel_.block;
  gridDim = kernel_.grid;
  do {
    for (Thread& thread : threads_) {
      if (thread.state != State::kReady) continue;
      current_ = &thread;
      threadIdx = thread_index();
      const transfer_t back = jump_fcontext(thread.context, this);
      thread.context = back.fctx;
      if (fault_) break;
    }
  } while (!fault_ && release_waiting());
  running_block = nullptr;
  return fault_;
}

// After every thread waits or has ended. Whether there is more to run.
bool Block::release_waiting() {
  bool waiting = false;
  bool released = false;
  for (const Thread& thread : threads_) waiting |= thread.state != State::kDone;
  if (!waiting) return false;
  for (size_t warp = 0; warp < warp_intervals_.size(); ++warp) released |= release_warp(warp);
  if (!released) released = release_block();
  if (!released && !fault_) fault_ = "block " + text(index_) + ": " + describe_waiting();
  return released;
}

// The lanes that wait for each other go on when all of them are there.
bool Block::release_warp(size_t warp) {
  const size_t first = warp * kWarpSize;
  bool released = false;
  for (size_t i = first; i < std::min(first + kWarpSize, threads_.size()); ++i) {
    if (threads_[i].state != State::kAtWarp) continue;
    const unsigned int mask = threads_[i].mask;
    bool complete = true;
    for (size_t lane = 0; lane < kWarpSize; ++lane) {
      if ((mask >> lane & 1) == 0) continue;
      if (first + lane >= threads_.size()) continue;  // the hardware ignores lanes that are not there
      const Thread& other = threads_[first + lane];
      complete &= other.state == State::kAtWarp && other.mask == mask &&
                  other.where.line == threads_[i].where.line && other.operation == threads_[i].operation;
    }
    if (!complete) continue;
    if (threads_[i].operation != nullptr) run_operation(first);
    for (size_t lane = 0; lane < kWarpSize && first + lane < threads_.size(); ++lane) {
      if ((mask >> lane & 1) == 0) continue;
      threads_[first + lane].state = State::kReady;
      threads_[first + lane].received = threads_[first + lane].bits;
    }
    ++warp_intervals_[warp];
    released = true;
  }
  return released;
}

void Block::run_operation(size_t first) {
  void* operands[kWarpSize] = {};
  for (size_t lane = 0; lane < kWarpSize; ++lane) operands[lane] = threads_[first + lane].operands;
  threads_[first].operation(operands);
  for (size_t lane = 0; lane < kWarpSize; ++lane) threads_[first + lane].operation = nullptr;
}

bool Block::release_block() {
  for (const Thread& thread : threads_) {
    if (thread.state != State::kAtBlock || thread.where.line != threads_.front().where.line) return false;
  }
  any_predicate_ = false;
  for (Thread& thread : threads_) {
    thread.state = State::kReady;
    any_predicate_ |= thread.bits != 0;
  }
  ++interval_;
  return true;
}

std::string Block::describe_waiting() const {
  std::string told;
  size_t ended = 0;
  const Thread* first = nullptr;
  for (const Thread& thread : threads_) {
    if (thread.state == State::kDone) {
      ++ended;
    } else if (first == nullptr) {
      first = &thread;
    }
  }
  const char* const what = first->state == State::kAtBlock ? "__syncthreads" : "a warp's exchange";
  told = "thread " + std::to_string(first->number) + " waits for " + what + " at " + text(first->where);
  for (const Thread& thread : threads_) {
    if (thread.state == State::kDone || thread.where.line == first->where.line) continue;
    return told + ", thread " + std::to_string(thread.number) + " at " + text(thread.where);
  }
  return told + ", which " + std::to_string(ended) + " threads never reach";
}

void Block::wait(State state, unsigned int mask, const Where& where) {
  Thread& thread = *current_;
  thread.state = state;
  thread.mask = mask;
  thread.where = where;
  // The scheduler's context is new after every jump.
  scheduler_ = jump_fcontext(static_cast<fcontext_t>(scheduler_), nullptr).fctx;
}

void Block::fail(const std::string& what) {
  if (!fault_) {
    fault_ = "block " + text(index_) + ", thread " + text(thread_index()) + " " + what;
  }
  for (;;) scheduler_ = jump_fcontext(static_cast<fcontext_t>(scheduler_), nullptr).fctx;
}

void Block::fail_misaligned(uintptr_t address, size_t alignment) {
  const auto allocation = device_memory().find(address);
  const std::string place = allocation ? std::to_string(address - allocation->begin) + " of an allocation"
                                       : "address " + std::to_string(address);
  fail("uses " + place + ", which is not aligned to " + std::to_string(alignment) + " bytes");
}

uint3 Block::thread_index() const {
  const uint32_t n = current_->number;
  const dim3& size = kernel_.block;
  return {n % size.x, n / size.x % size.y, n / size.x / size.y};
}

int Block::lane() const {
  return static_cast<int>(current_->number % kWarpSize);
}

ThreadPlace Block::place() const {
  const uint32_t warp = current_->number / kWarpSize;
  return {current_->number, warp, interval_, warp_intervals_[warp]};
}

void Block::synchronize(const Where& where) {
  current_->bits = 0;
  wait(State::kAtBlock, 0, where);
}

bool Block::synchronize_or(bool predicate, const Where& where) {
  current_->bits = predicate ? 1 : 0;
  wait(State::kAtBlock, 0, where);
  return any_predicate_;
}

void Block::synchronize_warp(unsigned int mask, const Where& where) {
  if ((mask >> lane() & 1) == 0) fail("is not in the mask of its own warp's exchange at " + text(where));
  wait(State::kAtWarp, mask, where);
}

uint32_t Block::exchange(unsigned int mask, uint32_t bits, int source, const Where& where) {
  current_->bits = bits;
  synchronize_warp(mask, where);
  const size_t other = current_->number / kWarpSize * kWarpSize + static_cast<size_t>(source);
  if ((mask >> source & 1) == 0 || other >= threads_.size()) {
    fail("asks lane " + std::to_string(source) + " for its value at " + text(where) +
         ", which does not take part");
  }
  return threads_[other].received;
}

unsigned int Block::vote(unsigned int mask, bool predicate, const Where& where) {
  current_->bits = predicate ? 1 : 0;
  synchronize_warp(mask, where);
  const size_t first = current_->number / kWarpSize * kWarpSize;
  unsigned int ballot = 0;
  for (unsigned int lane = 0; lane < kWarpSize && first + lane < threads_.size(); ++lane) {
    if (mask >> lane & 1) ballot |= threads_[first + lane].received << lane;
  }
  return ballot;
}

void Block::compute_together(WarpOperation operation, void* operands, const Where& where) {
  const size_t first = current_->number / kWarpSize * kWarpSize;
  if (first + kWarpSize > threads_.size())
    fail("computes with a whole warp at " + text(where) + ", in half a one");
  current_->operation = operation;
  current_->operands = operands;
  synchronize_warp(~0u, where);
}

bool Block::is_shared(const void* memory) {
  return holds(octet_shared, kMaxSharedBytes, address_of(memory), 1);
}

void Block::start_copy(void* shared, const void* global, size_t num_bytes, bool valid) {
  if (valid) check_access(address_of(global), num_bytes, Access::kRead, num_bytes);
  check_access(address_of(shared), num_bytes, Access::kWrite, num_bytes);
  const size_t offset = address_of(shared) - address_of(octet_shared);
  shadow_.set_in_flight(offset, num_bytes, true);
  current_->copies.push_back({offset, valid ? global : nullptr, num_bytes, current_->num_groups});
}

void Block::commit_copies() {
  ++current_->num_groups;
}

void Block::wait_copies(int pending) {
  std::deque<AsyncCopy>& copies = current_->copies;
  while (!copies.empty() && copies.front().group + static_cast<uint64_t>(pending) < current_->num_groups) {
    const AsyncCopy copy = copies.front();
    copies.pop_front();
    shadow_.set_in_flight(copy.offset, copy.num_bytes, false);
    check_access(address_of(octet_shared) + copy.offset, copy.num_bytes, Access::kWrite, 1);
    if (copy.from != nullptr) {
      std::memcpy(octet_shared + copy.offset, copy.from, copy.num_bytes);
    } else {
      std::memset(octet_shared + copy.offset, 0, copy.num_bytes);
    }
  }
}

void Block::check_access(uintptr_t address, size_t num_bytes, Access access, size_t alignment) {
  const bool is_write = access != Access::kRead;
  const auto verb = [&] { return (is_write ? "writes " : "reads ") + std::to_string(num_bytes) + " bytes "; };
  if (holds(stack(current_->number), kStackBytes, address, num_bytes)) return;
  if (holds(octet_shared, kMaxSharedBytes, address, 1)) {
    const size_t offset = address - address_of(octet_shared);
    if (offset + num_bytes > shadow_.num_bytes()) {
      fail(verb() + "at " + std::to_string(offset) + " of shared memory of " +
           std::to_string(shadow_.num_bytes()));
    }
    if (address % alignment != 0) fail_misaligned(address, alignment);
    if (const auto wrong = shadow_.access(offset, num_bytes, access, place())) fail(*wrong);
    return;
  }
  if (const auto allocation = device_memory().find(address)) {
    const size_t offset = address - allocation->begin;
    if (allocation->device != kernel_.device)
      fail(verb() + "of device " + std::to_string(allocation->device));
    if (offset + num_bytes > allocation->num_bytes) {
      fail(verb() + "at " + std::to_string(offset) + " of an allocation of " +
           std::to_string(allocation->num_bytes));
    }
    if (address % alignment != 0) fail_misaligned(address, alignment);
    if (kernel_.traffic != nullptr) {
      const auto count = [&](bool writes) {
        kernel_.traffic->add(allocation->begin, allocation->num_bytes, offset, num_bytes, writes);
      };
      if (access != Access::kWrite) count(false);
      if (is_write) count(true);
    }
    return;
  }
  if (!is_write && is_index(address, num_bytes)) return;
  if (!is_write && holds(kernel_.call, kernel_.call_bytes, address, num_bytes)) return;
  if (!is_write && address >= address_of(&__executable_start) && address < address_of(&end)) return;
  fail(verb() + device_memory().describe(address));
}

}  // namespace cuda_emulator
