#include "worker/stage/epoch_links.h"

#include <utility>

namespace octet::worker {
namespace {

using Ranks = std::span<const std::unique_ptr<kernels::Backend>>;

std::vector<std::unique_ptr<HandOff>> hand_offs_over(std::vector<std::unique_ptr<Link>> links, Ranks ranks,
                                                     kernels::PeerRole role) {
  std::vector<std::unique_ptr<HandOff>> hand_offs;
  for (size_t rank = 0; rank < links.size(); ++rank) {
    hand_offs.push_back(std::make_unique<HandOff>(std::move(links[rank]), *ranks[rank], role));
  }
  return hand_offs;
}

HandOff* of_rank(const std::vector<std::unique_ptr<HandOff>>& hand_offs, int rank) {
  return hand_offs.empty() ? nullptr : hand_offs[static_cast<size_t>(rank)].get();
}

}  // namespace

void EpochLinks::open(StageLinks links, Ranks ranks) {
  const std::scoped_lock lock(mutex_);
  from_previous_ = hand_offs_over(std::move(links.from_previous), ranks, kernels::PeerRole::kReceiver);
  to_next_ = hand_offs_over(std::move(links.to_next), ranks, kernels::PeerRole::kSender);
  failure_ = absl::OkStatus();
}

void EpochLinks::close(const absl::Status& reason) {
  const std::scoped_lock lock(mutex_);
  if (failure_.ok()) failure_ = reason;
  for (const auto& hand_off : from_previous_) hand_off->close();
  for (const auto& hand_off : to_next_) hand_off->close();
}

absl::Status EpochLinks::failure() const {
  const std::scoped_lock lock(mutex_);
  return failure_;
}

HandOff* EpochLinks::from_previous(int rank) const {
  const std::scoped_lock lock(mutex_);
  return of_rank(from_previous_, rank);
}

HandOff* EpochLinks::to_next(int rank) const {
  const std::scoped_lock lock(mutex_);
  return of_rank(to_next_, rank);
}

}  // namespace octet::worker
