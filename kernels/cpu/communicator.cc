#include "kernels/cpu/communicator.h"

#include <algorithm>

namespace octet::kernels {

Communicator::Communicator(int num_ranks, bool own_cpus)
    : barrier_(num_ranks, own_cpus), ranks_(static_cast<size_t>(num_ranks)) {}

int Communicator::next_side(int rank) {
  int& next = ranks_[static_cast<size_t>(rank)].next_side;
  const int side = next;
  next = 1 - next;
  return side;
}

void Communicator::check_same_size(int side) {
  for (int r = 1; r < num_ranks(); ++r) {
    OCTET_CHECK(offer(r, side).num_elements == offer(0, side).num_elements, "rank ", r, " has ",
                offer(r, side).num_elements, " elements, rank 0 has ", offer(0, side).num_elements);
  }
}

bool Communicator::all_agree(int rank, bool ok) {
  const int side = next_side(rank);
  offer(rank, side).ok = ok;
  barrier_.arrive_and_wait();
  return std::all_of(ranks_.begin(), ranks_.end(),
                     [side](const Rank& r) { return r.sides[static_cast<size_t>(side)].ok; });
}

}  // namespace octet::kernels
