#include "worker/link/frame.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace octet::worker {
namespace {

const LinkKey kKey = make_link_key();

TEST(Frame, GreetingsSurviveTheWire) {
  const Greeting greeting{0x0123456789abcdef, 7, 8};
  EXPECT_EQ(decode_greeting(encode(greeting, GreetingKind::kHello, kKey), GreetingKind::kHello, kKey),
            greeting);
  EXPECT_EQ(decode_greeting(encode(greeting, GreetingKind::kWelcome, kKey), GreetingKind::kWelcome, kKey),
            greeting);
}

TEST(Frame, AHelloIsNoWelcome) {
  EXPECT_EQ(
      decode_greeting(encode(Greeting{1, 0, 1}, GreetingKind::kHello, kKey), GreetingKind::kWelcome, kKey),
      std::nullopt);
}

TEST(Frame, AGreetingOfAnotherKeyOrWithAChangedBitIsNone) {
  const auto bytes = encode(Greeting{1, 0, 1}, GreetingKind::kHello, kKey);
  EXPECT_EQ(decode_greeting(bytes, GreetingKind::kHello, make_link_key()), std::nullopt);
  for (size_t at = 0; at < bytes.size(); ++at) {
    auto changed = bytes;
    changed[at] ^= std::byte{1};
    EXPECT_EQ(decode_greeting(changed, GreetingKind::kHello, kKey), std::nullopt) << at;
  }
}

TEST(Frame, RefusesAnotherMagicOrVersion) {
  for (const size_t at : {size_t{0}, size_t{3}, size_t{4}, size_t{7}}) {
    auto bytes = encode(Greeting{1, 0, 1}, GreetingKind::kHello, kKey);
    bytes[at] ^= std::byte{1};
    EXPECT_EQ(decode_greeting(bytes, GreetingKind::kHello, kKey), std::nullopt) << at;
  }
  for (size_t at = 0; at < 8; ++at) {
    auto bytes = encode(FrameHeader{1, 2, 3, 4});
    bytes[at] ^= std::byte{1};
    EXPECT_FALSE(decode_frame_header(bytes)) << at;
  }
}

TEST(Frame, HeadersSurviveTheWire) {
  const auto header = decode_frame_header(encode(FrameHeader{1, uint64_t{1} << 40, 3, ~uint64_t{0}}));
  ASSERT_TRUE(header);
  EXPECT_EQ(header->epoch, 1u);
  EXPECT_EQ(header->step, uint64_t{1} << 40);
  EXPECT_EQ(header->num_bytes, 3u);
  EXPECT_EQ(header->checksum, ~uint64_t{0});
}

TEST(Frame, EveryChangedBitChangesTheChecksum) {
  std::vector<std::byte> bytes(100);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 37);
  const uint64_t whole = checksum(bytes);
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    bytes[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
    EXPECT_NE(checksum(bytes), whole) << bit;
    bytes[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
  }
  std::swap_ranges(bytes.begin(), bytes.begin() + 32, bytes.begin() + 32);
  EXPECT_NE(checksum(bytes), whole);
}

}  // namespace
}  // namespace octet::worker
