#include "base/utf8.h"

#include <algorithm>

namespace octet {
namespace {

// What the first byte of a character says about the rest.
struct Lead {
  size_t num_bytes = 0;  // of the character; 0: no character begins so
  unsigned char second_min = 0x80;
  unsigned char second_max = 0xBF;
};

Lead lead_of(unsigned char byte) {
  if (byte < 0x80) return {.num_bytes = 1};
  if (byte < 0xC2) return {};  // a continuation, or the start of an overlong form
  if (byte < 0xE0) return {.num_bytes = 2};
  if (byte == 0xE0) return {.num_bytes = 3, .second_min = 0xA0};  // below: overlong
  if (byte == 0xED) return {.num_bytes = 3, .second_max = 0x9F};  // above: surrogates
  if (byte < 0xF0) return {.num_bytes = 3};
  if (byte == 0xF0) return {.num_bytes = 4, .second_min = 0x90};  // below: overlong
  if (byte < 0xF4) return {.num_bytes = 4};
  if (byte == 0xF4) return {.num_bytes = 4, .second_max = 0x8F};  // above: past U+10FFFF
  return {};
}

}  // namespace

Utf8Scan scan_utf8(std::string_view bytes) {
  const Lead lead = lead_of(static_cast<unsigned char>(bytes[0]));
  if (lead.num_bytes == 0) return {Utf8Front::kInvalid, 1};
  const size_t num_seen = std::min(lead.num_bytes, bytes.size());
  for (size_t i = 1; i < num_seen; ++i) {
    const auto byte = static_cast<unsigned char>(bytes[i]);
    const unsigned char min = i == 1 ? lead.second_min : 0x80;
    const unsigned char max = i == 1 ? lead.second_max : 0xBF;
    if (byte < min || byte > max) return {Utf8Front::kInvalid, 1};
  }
  if (num_seen < lead.num_bytes) return {Utf8Front::kIncomplete, num_seen};
  return {Utf8Front::kCharacter, lead.num_bytes};
}

bool is_valid_utf8(std::string_view bytes) {
  while (!bytes.empty()) {
    const Utf8Scan scan = scan_utf8(bytes);
    if (scan.front != Utf8Front::kCharacter) return false;
    bytes.remove_prefix(scan.num_bytes);
  }
  return true;
}

std::string replace_invalid_utf8(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  while (!bytes.empty()) {
    const Utf8Scan scan = scan_utf8(bytes);
    const bool whole = scan.front == Utf8Front::kCharacter;
    const size_t num_bytes = whole ? scan.num_bytes : 1;
    text.append(whole ? bytes.substr(0, num_bytes) : kReplacementCharacter);
    bytes.remove_prefix(num_bytes);
  }
  return text;
}

}  // namespace octet
