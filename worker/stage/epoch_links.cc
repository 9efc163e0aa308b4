#include "worker/stage/epoch_links.h"

#include <utility>

namespace octet::worker {
namespace {

Link* link_of(const std::vector<std::unique_ptr<Link>>& links, int rank) {
  return links.empty() ? nullptr : links[static_cast<size_t>(rank)].get();
}

}  // namespace

void EpochLinks::open(StageLinks links) {
  const std::scoped_lock lock(mutex_);
  links_ = std::move(links);
  failure_ = absl::OkStatus();
}

void EpochLinks::close(const absl::Status& reason) {
  const std::scoped_lock lock(mutex_);
  if (failure_.ok()) failure_ = reason;
  for (const auto& link : links_.from_previous) link->close();
  for (const auto& link : links_.to_next) link->close();
}

absl::Status EpochLinks::failure() const {
  const std::scoped_lock lock(mutex_);
  return failure_;
}

Link* EpochLinks::from_previous(int rank) const {
  const std::scoped_lock lock(mutex_);
  return link_of(links_.from_previous, rank);
}

Link* EpochLinks::to_next(int rank) const {
  const std::scoped_lock lock(mutex_);
  return link_of(links_.to_next, rank);
}

}  // namespace octet::worker
