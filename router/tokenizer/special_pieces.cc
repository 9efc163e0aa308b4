#include "router/tokenizer/special_pieces.h"

#include <functional>
#include <set>
#include <utility>

namespace octet::router {

SpecialPieces::SpecialPieces(std::vector<SpecialPiece> pieces) : pieces_(std::move(pieces)) {
  std::set<size_t, std::greater<>> lengths;
  for (size_t i = 0; i < pieces_.size(); ++i) {
    index_.emplace(pieces_[i].text, i);
    lengths.insert(pieces_[i].text.size());
    begins_[static_cast<unsigned char>(pieces_[i].text.front())] = true;
  }
  lengths_.assign(lengths.begin(), lengths.end());
}

const SpecialPiece* SpecialPieces::match_front(std::string_view text) const {
  if (text.empty() || !begins_[static_cast<unsigned char>(text.front())]) return nullptr;
  for (const size_t length : lengths_) {
    if (length > text.size()) continue;
    const auto found = index_.find(std::string(text.substr(0, length)));
    if (found != index_.end()) return &pieces_[found->second];
  }
  return nullptr;
}

}  // namespace octet::router
