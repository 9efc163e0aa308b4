#include "worker/link/frame.h"

#include <bit>
#include <cstring>

namespace octet::worker {

static_assert(std::endian::native == std::endian::little, "the wire is little-endian");

namespace {

constexpr size_t kProvenBytes = kGreetingBytes - sizeof(LinkProof);

constexpr uint32_t kHelloMagic = 0x4b4e4c4f;    // "OLNK"
constexpr uint32_t kWelcomeMagic = 0x4c45574f;  // "OWEL"
constexpr uint32_t kFrameMagic = 0x4d52464f;    // "OFRM"

uint32_t magic_of(GreetingKind kind) {
  return kind == GreetingKind::kHello ? kHelloMagic : kWelcomeMagic;
}

template <typename T>
void put(std::byte* at, T value) {
  std::memcpy(at, &value, sizeof value);
}

template <typename T>
T get(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

}  // namespace

std::array<std::byte, kGreetingBytes> encode(const Greeting& greeting, GreetingKind kind,
                                             const LinkKey& key) {
  std::array<std::byte, kGreetingBytes> bytes{};
  put(&bytes[0], magic_of(kind));
  put(&bytes[4], kLinkWireVersion);
  put(&bytes[8], greeting.epoch);
  put(&bytes[16], greeting.rank);
  put(&bytes[20], greeting.num_ranks);
  put(&bytes[kProvenBytes], prove(key, std::span(bytes).first<kProvenBytes>()));
  return bytes;
}

std::optional<Greeting> decode_greeting(std::span<const std::byte, kGreetingBytes> bytes, GreetingKind kind,
                                        const LinkKey& key) {
  if (get<uint32_t>(&bytes[0]) != magic_of(kind)) return std::nullopt;
  if (get<uint32_t>(&bytes[4]) != kLinkWireVersion) return std::nullopt;
  const auto proof = get<LinkProof>(&bytes[kProvenBytes]);
  if (!equal(proof, prove(key, bytes.first<kProvenBytes>()))) return std::nullopt;
  return Greeting{get<uint64_t>(&bytes[8]), get<uint32_t>(&bytes[16]), get<uint32_t>(&bytes[20])};
}

std::array<std::byte, kFrameHeaderBytes> encode(const FrameHeader& header) {
  std::array<std::byte, kFrameHeaderBytes> bytes{};
  put(&bytes[0], kFrameMagic);
  put(&bytes[8], header.epoch);
  put(&bytes[16], header.step);
  put(&bytes[24], header.num_bytes);
  put(&bytes[32], header.checksum);
  return bytes;
}

std::optional<FrameHeader> decode_frame_header(std::span<const std::byte, kFrameHeaderBytes> bytes) {
  if (get<uint32_t>(&bytes[0]) != kFrameMagic || get<uint32_t>(&bytes[4]) != 0) return std::nullopt;
  return FrameHeader{get<uint64_t>(&bytes[8]), get<uint64_t>(&bytes[16]), get<uint64_t>(&bytes[24]),
                     get<uint64_t>(&bytes[32])};
}

uint64_t checksum(std::span<const std::byte> bytes) {
  // FNV-1a over words of 8 bytes in four lanes, which hide the multiplication's latency. A step of a lane is
  // a bijection of its state, so one changed word always changes the result.
  constexpr uint64_t kPrime = 0x100000001b3;
  constexpr size_t kLanes = 4;
  std::array<uint64_t, kLanes> lanes = {1, 2, 3, 4};
  size_t at = 0;
  for (; at + 8 * kLanes <= bytes.size(); at += 8 * kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      lanes[lane] = (lanes[lane] ^ get<uint64_t>(bytes.data() + at + 8 * lane)) * kPrime;
    }
  }
  uint64_t sum = 0;
  for (const uint64_t lane : lanes) sum = (sum ^ lane) * kPrime;
  for (; at < bytes.size(); ++at) sum = (sum ^ static_cast<uint64_t>(bytes[at])) * kPrime;
  return sum;
}

}  // namespace octet::worker
