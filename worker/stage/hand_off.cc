#include "worker/stage/hand_off.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "absl/strings/str_cat.h"

namespace octet::worker {
namespace {

constexpr uint64_t kIdStep = UINT64_MAX;  // of the id's message, which is of no step

std::span<std::byte> bytes_of(const kernels::Tensor& tensor) {
  return {tensor.data<std::byte>(),
          static_cast<size_t>(tensor.num_elements() * kernels::size_of(tensor.dtype()))};
}

absl::Status with_rank(const absl::Status& status, int rank) {
  if (status.ok()) return status;
  return absl::Status(status.code(),
                      absl::StrCat("hand-off of rank ", rank, ": ", std::string(status.message())));
}

}  // namespace

template <typename Wait>
absl::Status HandOff::wait_for_peer(Time deadline, const Wait& wait) {
  absl::Status reason;
  const std::optional<std::string> problem = wait([&]() -> std::optional<std::string> {
    reason = now() < deadline ? link_->check()
                              : absl::DeadlineExceededError("the peer's device did not answer in time");
    if (reason.ok()) return std::nullopt;
    return std::string(reason.message());
  });
  if (!problem) return absl::OkStatus();
  return with_rank(reason.ok() ? absl::UnavailableError(*problem) : reason, backend_.rank());
}

absl::Status HandOff::begin_connecting(Time deadline) {
  if (!is_between_devices()) return absl::OkStatus();
  kernels::PeerId id;
  if (role_ == kernels::PeerRole::kSender) {
    if (const std::optional<std::string> problem = backend_.make_peer_id(id)) {
      return with_rank(absl::UnavailableError(*problem), backend_.rank());
    }
    if (absl::Status sent = link_->send(kIdStep, id, deadline); !sent.ok()) return sent;
  } else if (absl::Status received = link_->receive(kIdStep, id, deadline); !received.ok()) {
    return received;
  }
  peer_ = backend_.connect_peer(id, role_);
  return absl::OkStatus();
}

absl::Status HandOff::finish_connecting(Time deadline) {
  if (peer_ == nullptr) return absl::OkStatus();
  return wait_for_peer(deadline,
                       [&](const auto& interruption) { return peer_->wait_until_connected(interruption); });
}

absl::Status HandOff::send(uint64_t step, kernels::Tensor activations, Time deadline) {
  if (!is_between_devices()) return link_->send(step, bytes_of(activations), deadline);
  const int64_t count = activations.num_elements();
  if (absl::Status told = link_->send(step, std::as_bytes(std::span(&count, 1)), deadline); !told.ok()) {
    return told;
  }
  return wait_for_peer(deadline,
                       [&](const auto& interruption) { return peer_->send(activations, interruption); });
}

absl::Status HandOff::receive(uint64_t step, kernels::Tensor activations, Time deadline) {
  if (!is_between_devices()) return link_->receive(step, bytes_of(activations), deadline);
  int64_t count = 0;
  if (absl::Status told = link_->receive(step, std::as_writable_bytes(std::span(&count, 1)), deadline);
      !told.ok()) {
    return told;
  }
  if (count != activations.num_elements()) {
    return with_rank(absl::DataLossError(absl::StrCat("the peer sends ", count, " elements in step ", step,
                                                      "; expected ", activations.num_elements())),
                     backend_.rank());
  }
  return wait_for_peer(deadline,
                       [&](const auto& interruption) { return peer_->receive(activations, interruption); });
}

}  // namespace octet::worker
