// A fuzzer's bytes as the choices that a target makes of them. When they run out every choice is the first.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

// What libFuzzer, or replay_main.cc, calls; each target defines it. 0: the input may go into the corpus.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace octet::fuzz {

class Input {
 public:
  Input(const uint8_t* data, size_t size) : left_(reinterpret_cast<const char*>(data), size) {}

  bool empty() const { return left_.empty(); }
  // At most 256 kinds.
  uint32_t below(uint32_t end) { return byte() % end; }
  bool flag() { return (byte() & 1) != 0; }
  uint8_t byte() {
    if (left_.empty()) return 0;
    const auto byte = static_cast<uint8_t>(left_.front());
    left_.remove_prefix(1);
    return byte;
  }
  // Its length in a byte, then so many bytes as there are.
  std::string_view short_text() { return take(byte()); }
  // All up to a line break, which is dropped.
  std::string_view line() {
    const size_t end = std::min(left_.find('\n'), left_.size());
    const std::string_view text = take(end);
    take(1);
    return text;
  }
  std::string_view rest() { return take(left_.size()); }

 private:
  std::string_view take(size_t size) {
    const std::string_view text = left_.substr(0, size);
    left_.remove_prefix(text.size());
    return text;
  }

  std::string_view left_;
};

}  // namespace octet::fuzz
