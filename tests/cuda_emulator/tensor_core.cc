// The instructions of octet_ptx.cuh: what a warp does together is computed once all its lanes have brought
// their registers.
#include <cstring>

#include "tests/cuda_emulator/block.h"
#include "tests/cuda_emulator/include/octet_ptx.cuh"

namespace cuda_emulator {
namespace {

// The registers of one lane.
struct MmaOperands {
  float* d;
  const uint32_t* a;
  uint32_t b[2];
};

float element(uint32_t packed, int half) {
  return __bfloat162float({static_cast<uint16_t>(half == 0 ? packed : packed >> 16)});
}

// Products and sums in double, rounded once to fp32: as exact as any order of the hardware's additions.
void multiply(void* const (&lanes)[kWarpSize]) {
  const auto operands = [&](int lane) -> const MmaOperands& {
    return *static_cast<const MmaOperands*>(lanes[lane]);
  };
  float a[16][16];
  float b[16][8];
  for (int lane = 0; lane < kWarpSize; ++lane) {
    const int g = lane / 4;
    const int t = lane % 4;
    for (int half = 0; half < 2; ++half) {
      for (int i = 0; i < 4; ++i) {
        a[g + i % 2 * 8][2 * t + i / 2 * 8 + half] = element(operands(lane).a[i], half);
      }
      for (int i = 0; i < 2; ++i) b[2 * t + 8 * i + half][g] = element(operands(lane).b[i], half);
    }
  }
  for (int lane = 0; lane < kWarpSize; ++lane) {
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + i / 2 * 8;
      const int column = lane % 4 * 2 + i % 2;
      double sum = static_cast<double>(operands(lane).d[i]);
      for (int k = 0; k < 16; ++k) sum += static_cast<double>(a[row][k]) * static_cast<double>(b[k][column]);
      operands(lane).d[i] = static_cast<float>(sum);
    }
  }
}

struct LoadOperands {
  uint32_t* registers;
  const void* row;
};

template <bool kTransposed>
void distribute(void* const (&lanes)[kWarpSize]) {
  for (int lane = 0; lane < kWarpSize; ++lane) {
    const int g = lane / 4;
    const int t = lane % 4;
    for (int matrix = 0; matrix < 4; ++matrix) {
      const auto at = [&](int row, int column) {
        uint16_t bits = 0;
        const auto* const of = static_cast<const LoadOperands*>(lanes[8 * matrix + row]);
        std::memcpy(&bits, static_cast<const char*>(of->row) + 2 * column, 2);
        return uint32_t{bits};
      };
      const uint32_t low = kTransposed ? at(2 * t, g) : at(g, 2 * t);
      const uint32_t high = kTransposed ? at(2 * t + 1, g) : at(g, 2 * t + 1);
      static_cast<const LoadOperands*>(lanes[lane])->registers[matrix] = low | high << 16;
    }
  }
}

void load(uint32_t* registers, const void* row, WarpOperation operation, const Where& where) {
  Block* const block = current_block();
  block->check_access(reinterpret_cast<uintptr_t>(row), 16, Access::kRead, 16);
  LoadOperands operands = {registers, row};
  block->compute_together(operation, &operands, where);
}

}  // namespace
}  // namespace cuda_emulator

namespace octet::ptx {

using namespace cuda_emulator;

uint32_t shared_address(const void* memory) {
  if (!Block::is_shared(memory)) current_block()->fail("takes for shared memory what is not");
  return static_cast<uint32_t>(static_cast<const char*>(memory) - octet_shared);
}

void mma_bf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, Where where) {
  MmaOperands operands = {d, a, {b0, b1}};
  current_block()->compute_together(multiply, &operands, where);
}

void load_matrices(uint32_t (&registers)[4], uint32_t row, Where where) {
  load(registers, octet_shared + row, distribute<false>, where);
}

void load_matrices_transposed(uint32_t (&registers)[4], uint32_t row, Where where) {
  load(registers, octet_shared + row, distribute<true>, where);
}

void start_copy(uint32_t shared, const void* global, bool valid) {
  current_block()->start_copy(octet_shared + shared, global, 16, valid);
}
void commit_copies() {
  current_block()->commit_copies();
}
void wait_copies_but(int pending) {
  current_block()->wait_copies(pending);
}

}  // namespace octet::ptx
