// What the CPU ranks of a stage share: a barrier, and the memory through which they exchange tensors. Its
// collectives are in all_reduce.cc and all_gather.cc.
//
// Every collective of the stage is called by every rank, in the same order; each by one thread a rank.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "kernels/cpu/barrier.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/tensor.h"

namespace octet::kernels {

class Communicator {
 public:
  // own_cpus: see Barrier.
  Communicator(int num_ranks, bool own_cpus);

  int num_ranks() const { return static_cast<int>(ranks_.size()); }

  // See Backend.
  void all_reduce(int rank, Tensor data, const CpuKernels& kernels);
  void all_gather_columns(int rank, Tensor output, Tensor input);
  bool all_agree(int rank, bool ok);

 private:
  // What a rank shows the others in one collective.
  struct Offer {
    const float* data = nullptr;
    int64_t num_elements = 0;
    int64_t row_stride = 0;
    bool ok = false;
    std::vector<float> scratch;  // grows to the largest collective
  };

  // Collectives use the two sides in turn. A rank may write its offer before the barrier of a collective: the
  // others have then at least begun the collective before it, so they are done with the one before that,
  // which used the side.
  struct alignas(64) Rank {
    std::array<Offer, 2> sides;
    int next_side = 0;  // read and written by the rank itself only
  };

  int next_side(int rank);
  Offer& offer(int rank, int side) {
    return ranks_[static_cast<size_t>(rank)].sides[static_cast<size_t>(side)];
  }
  void check_same_size(int side);
  void all_reduce_small(int rank, int side, float* data, int64_t num_elements, const CpuKernels& kernels);
  void all_reduce_large(int rank, int side, float* data, int64_t num_elements, const CpuKernels& kernels);

  Barrier barrier_;
  std::vector<Rank> ranks_;
};

}  // namespace octet::kernels
