// What comes before a step's activations on a link: only what was encoded, with the key, is decoded.
#include <algorithm>
#include <array>
#include <vector>

#include "base/check.h"
#include "tests/fuzz/input.h"
#include "worker/link/frame.h"

namespace octet::worker {
namespace {

template <typename T>
T number(fuzz::Input& input) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) value = static_cast<T>(value << 8 | input.byte());
  return value;
}

template <size_t N>
std::array<std::byte, N> bytes_of(fuzz::Input& input) {
  std::array<std::byte, N> bytes{};
  std::generate(bytes.begin(), bytes.end(), [&] { return std::byte{input.byte()}; });
  return bytes;
}

// A strange peer's bytes, taken only when they happen to be a message.
void decode_any(fuzz::Input& input, const LinkKey& key) {
  const auto header_bytes = bytes_of<kFrameHeaderBytes>(input);
  if (const auto header = decode_frame_header(header_bytes)) OCTET_CHECK(encode(*header) == header_bytes);
  const auto greeting_bytes = bytes_of<kGreetingBytes>(input);
  for (const GreetingKind kind : {GreetingKind::kHello, GreetingKind::kWelcome}) {
    const auto greeting = decode_greeting(greeting_bytes, kind, key);
    if (greeting) OCTET_CHECK(encode(*greeting, kind, key) == greeting_bytes);
  }
}

// A peer's bytes with one bit changed.
void decode_changed(fuzz::Input& input, const LinkKey& key) {
  const Greeting greeting{.epoch = number<uint64_t>(input),
                          .rank = number<uint32_t>(input),
                          .num_ranks = number<uint32_t>(input)};
  const GreetingKind kind = input.flag() ? GreetingKind::kHello : GreetingKind::kWelcome;
  auto bytes = encode(greeting, kind, key);
  OCTET_CHECK(decode_greeting(bytes, kind, key) == greeting);
  bytes[input.below(kGreetingBytes)] ^= std::byte{1} << input.below(8);
  OCTET_CHECK(!decode_greeting(bytes, kind, key), "a changed greeting is taken");
}

void sum(fuzz::Input& input) {
  const uint8_t bit = input.below(8);
  const size_t drawn = number<uint16_t>(input);
  std::vector<std::byte> bytes;
  while (!input.empty()) bytes.push_back(std::byte{input.byte()});
  const uint64_t before = checksum(bytes);
  if (bytes.empty()) return;
  bytes[drawn % bytes.size()] ^= std::byte{1} << bit;
  OCTET_CHECK(checksum(bytes) != before, "a changed bit does not change the checksum");
}

}  // namespace
}  // namespace octet::worker

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace octet::worker;
  octet::fuzz::Input input(data, size);
  const uint32_t kind = input.below(3);
  LinkKey key{};
  key[0] = std::byte{input.byte()};
  if (kind == 0) decode_any(input, key);
  if (kind == 1) decode_changed(input, key);
  if (kind == 2) sum(input);
  return 0;
}
