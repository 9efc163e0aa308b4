// What the compiler calls at each access of memory in a file that is compiled with -fsanitize=thread, and at
// each misaligned one with -fsanitize=alignment. The programs are not linked with the sanitizers: these take
// the place of their runtimes, so that kernels need not be changed for their accesses to be seen. Outside
// kernels they do nothing.
#include <cstddef>
#include <cstdint>

#include "tests/cuda_emulator/block.h"

namespace {

void access(const void* memory, size_t num_bytes, bool is_write, size_t alignment) {
  using cuda_emulator::Access;
  cuda_emulator::Block* const block = cuda_emulator::current_block();
  if (block == nullptr) return;
  block->check_access(reinterpret_cast<uintptr_t>(memory), num_bytes,
                      is_write ? Access::kWrite : Access::kRead, alignment);
}

}  // namespace

// The names, and with them the macros below, are the sanitizers'.
// NOLINTBEGIN(bugprone-reserved-identifier, bugprone-macro-parentheses)
extern "C" {

// As GCC's libubsan has it; an access through a vector's type may be compiled as several smaller ones.
struct TypeMismatch {
  const char* file;
  uint32_t line;
  uint32_t column;
  const void* type;
  unsigned char log_alignment;
  unsigned char kind;
};
void __ubsan_handle_type_mismatch_v1(TypeMismatch* data, void* memory) {
  cuda_emulator::Block* const block = cuda_emulator::current_block();
  if (block == nullptr) return;
  block->fail_misaligned(reinterpret_cast<uintptr_t>(memory), size_t{1} << data->log_alignment);
}

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}

// An access that the compiler takes to be aligned is one instruction on the device, which faults if it is
// not.
#define OCTET_HOOKS(size)                           \
  void __tsan_read##size(void* memory) {            \
    access(memory, size, false, size);              \
  }                                                 \
  void __tsan_write##size(void* memory) {           \
    access(memory, size, true, size);               \
  }                                                 \
  void __tsan_volatile_read##size(void* memory) {   \
    access(memory, size, false, size);              \
  }                                                 \
  void __tsan_volatile_write##size(void* memory) {  \
    access(memory, size, true, size);               \
  }                                                 \
  void __tsan_unaligned_read##size(void* memory) {  \
    access(memory, size, false, 1);                 \
  }                                                 \
  void __tsan_unaligned_write##size(void* memory) { \
    access(memory, size, true, 1);                  \
  }
OCTET_HOOKS(1)
OCTET_HOOKS(2)
OCTET_HOOKS(4)
OCTET_HOOKS(8)
OCTET_HOOKS(16)
#undef OCTET_HOOKS

// Of host code in such a file, a shared_ptr's count for one; kernels use atomicAdd().
#define OCTET_ATOMIC_HOOKS(bits, type)                                           \
  type __tsan_atomic##bits##_load(const volatile type* memory, int) {            \
    return __atomic_load_n(memory, __ATOMIC_SEQ_CST);                            \
  }                                                                              \
  void __tsan_atomic##bits##_store(volatile type* memory, type value, int) {     \
    __atomic_store_n(memory, value, __ATOMIC_SEQ_CST);                           \
  }                                                                              \
  type __tsan_atomic##bits##_fetch_add(volatile type* memory, type value, int) { \
    return __atomic_fetch_add(memory, value, __ATOMIC_SEQ_CST);                  \
  }
OCTET_ATOMIC_HOOKS(8, uint8_t)
OCTET_ATOMIC_HOOKS(32, uint32_t)
OCTET_ATOMIC_HOOKS(64, uint64_t)
#undef OCTET_ATOMIC_HOOKS

void __tsan_read_range(void* memory, size_t num_bytes) {
  access(memory, num_bytes, false, 1);
}
void __tsan_write_range(void* memory, size_t num_bytes) {
  access(memory, num_bytes, true, 1);
}

}  // extern "C"
// NOLINTEND(bugprone-reserved-identifier, bugprone-macro-parentheses)
