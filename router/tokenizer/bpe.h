// The second half of SentencePiece: normalised text becomes pieces, by byte-pair encoding.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/sentencepiece_model.h"
#include "router/tokenizer/normalizer.h"
#include "router/tokenizer/special_pieces.h"
#include "router/tokenizer/word_cache.h"

namespace octet::router {

class BpeEncoder {
 public:
  // model and specials must outlive the encoder.
  BpeEncoder(const SentencePieceModel& model, const SpecialPieces& specials);

  // Takes O(n log n) time and about 60 bytes of memory for each byte of text.
  std::vector<uint32_t> encode(const NormalizedText& text) const;

 private:
  // A character, or what characters were merged to, in a doubly linked list.
  struct Symbol {
    size_t begin = 0;
    size_t num_bytes = 0;        // 0: merged into the symbol before
    bool is_frozen = false;      // takes no part in merges: a special piece, or a literal
    std::optional<uint32_t> id;  // of a special piece
    size_t previous = kNone;
    size_t next = kNone;
  };
  struct Output {
    std::vector<uint32_t> ids;
    bool ends_unknown = false;
  };
  static constexpr size_t kNone = ~size_t{0};
  class Merging;

  std::vector<Symbol> split(const NormalizedText& text) const;
  std::optional<uint32_t> find(std::string_view piece) const;
  // id: of the piece; empty: there is none, so its bytes are spelled.
  void append(std::string_view piece, std::optional<uint32_t> id, Output& output) const;
  size_t word_end(std::string_view text, const std::vector<Symbol>& symbols, size_t begin) const;
  // What the symbols of the word at begin have become.
  void append_word(const Merging& merging, std::string_view text, const std::vector<Symbol>& symbols,
                   size_t begin, Output& output) const;

  const SentencePieceModel& model_;
  const SpecialPieces& specials_;
  absl::flat_hash_map<std::string_view, uint32_t> pieces_;  // those that text can become; views of model_
  std::vector<uint32_t> byte_ids_;                          // [256], or empty without byte fallback
  uint32_t unknown_id_ = 0;
  bool spaces_begin_pieces_ = true;   // no piece holds a space after something else
  std::unique_ptr<WordCache> words_;  // null where a word's ids depend on what stands around it
};

}  // namespace octet::router
