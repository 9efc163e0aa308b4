#include "router/tokenizer/special_pieces.h"

#include <algorithm>
#include <functional>
#include <set>
#include <utility>

namespace octet::router {
namespace {

// Whether text + guard, for some text, holds other across the seam: other ends with a beginning of the guard.
bool can_end_inside(std::string_view other, std::string_view guard) {
  for (size_t length = 1; length <= guard.size() && length < other.size(); ++length) {
    if (other.ends_with(guard.substr(0, length))) return true;
  }
  return false;
}

}  // namespace

SpecialPieces::SpecialPieces(std::vector<Piece> pieces) : pieces_(std::move(pieces)) {
  std::set<size_t, std::greater<>> lengths;
  for (const Piece& piece : pieces_) {
    by_text_.emplace(piece.text, &piece);
    lengths.insert(piece.text.size());
    begins_[static_cast<unsigned char>(piece.text.front())] = true;
  }
  lengths_.assign(lengths.begin(), lengths.end());
  guard_ = find_guard();
}

const SpecialPieces::Piece* SpecialPieces::match_front(std::string_view text) const {
  if (text.empty() || !begins_[static_cast<unsigned char>(text.front())]) return nullptr;
  for (const size_t length : lengths_) {
    if (length > text.size()) continue;
    const auto found = by_text_.find(text.substr(0, length));
    if (found != by_text_.end()) return found->second;
  }
  return nullptr;
}

const SpecialPieces::Piece* SpecialPieces::find_guard() const {
  for (const Piece& candidate : pieces_) {
    const bool disturbed = std::any_of(pieces_.begin(), pieces_.end(), [&](const Piece& other) {
      const bool longer = other.text.size() > candidate.text.size() && other.text.starts_with(candidate.text);
      return longer || can_end_inside(other.text, candidate.text);
    });
    if (!disturbed) return &candidate;
  }
  return nullptr;
}

}  // namespace octet::router
