// The first half of SentencePiece: text becomes the text that is cut into pieces, with spaces as U+2581.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "router/tokenizer/byte_ranges.h"
#include "router/tokenizer/char_map.h"
#include "router/tokenizer/special_pieces.h"

namespace octet::router {

// plain: where special pieces stay text (see Tokenizer::encode_plain).
struct MarkedText {
  std::string text;
  ByteRanges plain;
};

struct NormalizedText {
  std::string text;
  ByteRanges plain;
  // Where a U+2581 of plain text begins, which is itself and no space; ascending.
  std::vector<size_t> literals;
};

class Normalizer {
 public:
  struct Options {
    bool add_dummy_prefix = false;
    bool remove_extra_whitespaces = false;
    bool keep_literals = false;  // byte pieces can spell a U+2581, so plain text need not lose it
  };
  // specials must outlive the normalizer.
  Normalizer(Options options, CharMap char_map, const SpecialPieces& specials);

  enum class Position {
    kBegin,   // a whole text
    kMiddle,  // more text precedes: no dummy prefix, leading spaces count
  };
  NormalizedText run(const MarkedText& input, Position position) const;

 private:
  struct Step {
    size_t num_bytes = 0;     // of input
    std::string_view output;  // a view of the input, a replacement or a literal
    bool is_literal = false;
  };
  Step step(std::string_view rest, size_t at, ByteRanges::Walk& plain) const;

  Options options_;
  CharMap char_map_;
  const SpecialPieces& specials_;
};

}  // namespace octet::router
