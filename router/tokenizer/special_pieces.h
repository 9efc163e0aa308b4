// The user-defined pieces ("<extra_id_1>"), found in text as SentencePiece finds them: the longest that
// begins at a position.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace octet::router {

struct SpecialPiece {
  std::string text;
  uint32_t id = 0;
  // A user-defined piece of one character is that character in any text; it can be no command to the model.
  bool is_one_character = false;
};

class SpecialPieces {
 public:
  SpecialPieces() = default;
  explicit SpecialPieces(std::vector<SpecialPiece> pieces);

  // The longest piece at the front of text, or null.
  const SpecialPiece* match_front(std::string_view text) const;

 private:
  std::vector<SpecialPiece> pieces_;
  std::unordered_map<std::string, size_t> index_;  // into pieces_
  std::vector<size_t> lengths_;                    // distinct, longest first
  std::array<bool, 256> begins_{};                 // bytes that begin a piece
};

}  // namespace octet::router
