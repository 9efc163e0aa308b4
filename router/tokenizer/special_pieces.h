// The user-defined pieces of more than one character ("<extra_id_1>"), found in text as SentencePiece finds
// them: the longest that begins at a position.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "router/tokenizer/tokenizer.h"

namespace octet::router {

class SpecialPieces {
 public:
  struct Piece {
    std::string text;
    TokenId id = 0;
  };
  explicit SpecialPieces(std::vector<Piece> pieces);
  SpecialPieces(SpecialPieces&&) =
      default;  // by_text_ and guard_ point into pieces_' memory, which moves along
  SpecialPieces& operator=(SpecialPieces&&) = default;

  // The longest piece at the front of text.
  const Piece* match_front(std::string_view text) const;
  // A piece that, put directly before or after any text, is found as itself: it is no proper prefix of
  // another piece, and no other piece can begin in the text before it and end inside it. Null if there is
  // none.
  const Piece* guard() const { return guard_; }

 private:
  const Piece* find_guard() const;

  std::vector<Piece> pieces_;
  std::unordered_map<std::string_view, const Piece*> by_text_;  // views of pieces_
  std::vector<size_t> lengths_;                                 // distinct, longest first
  std::array<bool, 256> begins_{};                              // bytes that begin a piece
  const Piece* guard_ = nullptr;
};

}  // namespace octet::router
