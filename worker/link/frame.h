// The bytes of a link over TCP: one greeting and its answer, then a header before each step's activations.
// Values only; tcp_link.cc moves them. All numbers are little-endian.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "worker/link/link_key.h"

namespace octet::worker {

inline constexpr uint32_t kLinkWireVersion = 2;

// Who connects, and what for. The listener answers with the same once it has taken the connection.
struct Greeting {
  uint64_t epoch = 0;
  uint32_t rank = 0;
  uint32_t num_ranks = 0;

  bool operator==(const Greeting&) const = default;
};

// The answer has a magic number of its own, so that a connection to oneself (a loopback port with no listener
// can give one) is not taken for a peer.
enum class GreetingKind { kHello, kWelcome };

// What comes before the activations of a step.
struct FrameHeader {
  uint64_t epoch = 0;
  uint64_t step = 0;
  uint64_t num_bytes = 0;  // of activations
  uint64_t checksum = 0;   // over them
};

inline constexpr size_t kGreetingBytes = 56;     // magic, version, epoch, rank, num_ranks, proof over these
inline constexpr size_t kFrameHeaderBytes = 40;  // magic, 4 bytes of zero, epoch, step, num_bytes, checksum

std::array<std::byte, kGreetingBytes> encode(const Greeting& greeting, GreetingKind kind, const LinkKey& key);
std::array<std::byte, kFrameHeaderBytes> encode(const FrameHeader& header);

// nullopt: other bytes than a greeting of this kind, wire version and key, or than a header.
std::optional<Greeting> decode_greeting(std::span<const std::byte, kGreetingBytes> bytes, GreetingKind kind,
                                        const LinkKey& key);
std::optional<FrameHeader> decode_frame_header(std::span<const std::byte, kFrameHeaderBytes> bytes);

// A checksum that every changed bit changes; made to keep up with memory, not to resist an attacker.
uint64_t checksum(std::span<const std::byte> bytes);

}  // namespace octet::worker
