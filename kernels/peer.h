// The way of a rank's activations to its equal in a neighbouring stage, from device to device.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>

#include "kernels/tensor.h"

namespace octet::kernels {

// What both ends of a connection have to know; one of them makes it, and tells the other.
using PeerId = std::array<std::byte, 128>;

enum class PeerRole { kSender, kReceiver };

// One direction, called from the rank's thread. What goes wrong is returned as a text: nothing means that all
// went well, and after a text the connection is of no more use. Every wait asks its `interruption` again and
// again, and ends with the text that it gives.
class Peer {
 public:
  using Interruption = std::function<std::optional<std::string>()>;

  // Ends what is under way, on this device.
  virtual ~Peer() = default;

  // Until the other end has come.
  virtual std::optional<std::string> wait_until_connected(const Interruption& interruption) = 0;
  // Hands the data over, after all ops before, until the other end has it. data: fp32, packed.
  virtual std::optional<std::string> send(Tensor data, const Interruption& interruption) = 0;
  // Until the data is there. data: of the size that is sent.
  virtual std::optional<std::string> receive(Tensor data, const Interruption& interruption) = 0;
};

}  // namespace octet::kernels
