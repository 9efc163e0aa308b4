// UTF-8 as Unicode defines it: no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace octet {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

// What stands at the front of some bytes.
enum class Utf8Front {
  kCharacter,   // a whole character
  kIncomplete,  // the beginning of a character that more bytes could complete
  kInvalid,     // a byte that begins no character
};

struct Utf8Scan {
  Utf8Front front;
  size_t num_bytes;  // the character's bytes; all of bytes for kIncomplete; 1 for kInvalid
};

// Looks at the front of bytes, which must not be empty.
Utf8Scan scan_utf8(std::string_view bytes);

bool is_valid_utf8(std::string_view bytes);

// The same bytes with each one that belongs to no character as U+FFFD, as SentencePiece decodes broken byte
// pieces.
std::string replace_invalid_utf8(std::string_view bytes);

}  // namespace octet
