#include "router/tokenizer/bpe.h"

#include <algorithm>
#include <cstddef>
#include <queue>
#include <span>
#include <utility>

#include "base/utf8.h"

namespace octet::router {
namespace {

// Whether a space comes after something else inside the piece.
bool crosses_words(std::string_view piece) {
  for (size_t at = piece.find(kSpaceSymbol); at != std::string_view::npos;
       at = piece.find(kSpaceSymbol, at + 1)) {
    if (at > 0 && !piece.substr(0, at).ends_with(kSpaceSymbol)) return true;
  }
  return false;
}

}  // namespace

// One text's merges: always the best pair of neighbours next, the leftmost of equals.
class BpeEncoder::Merging {
 public:
  Merging(const BpeEncoder& encoder, std::string_view text, std::vector<Symbol>& symbols)
      : encoder_(encoder), text_(text), symbols_(symbols) {}

  // Merges the symbols of one word, which becomes a list of its own.
  void run(size_t begin, size_t end) {
    symbols_[begin].previous = kNone;
    symbols_[end - 1].next = kNone;
    for (size_t i = begin + 1; i < end; ++i) consider(i - 1, i);
    while (!pairs_.empty()) {
      const Pair pair = pairs_.top();
      pairs_.pop();
      if (still_holds(pair)) merge(pair);
    }
  }

  // The pieces that a merged piece stands for: itself, or for one of the kind unused those that it was merged
  // from.
  void unfold(std::string_view piece, std::vector<std::string_view>& pieces) const {
    const auto split = splits_.find(piece);
    if (split == splits_.end()) {
      pieces.push_back(piece);
      return;
    }
    unfold(piece.substr(0, split->second), pieces);
    unfold(piece.substr(split->second), pieces);
  }

 private:
  struct Pair {
    float score;
    size_t left;
    size_t right;
    size_t num_bytes;

    bool operator<(const Pair& other) const {  // for std::priority_queue: the greatest is next
      return score != other.score ? score < other.score : left > other.left;
    }
  };

  void consider(size_t left, size_t right) {
    if (left == kNone || right == kNone || symbols_[left].is_frozen || symbols_[right].is_frozen) return;
    const size_t num_bytes = symbols_[left].num_bytes + symbols_[right].num_bytes;
    const std::string_view piece = text_.substr(symbols_[left].begin, num_bytes);
    const auto id = encoder_.find(piece);
    if (!id) return;
    const SentencePieceModel::Piece& merged = encoder_.model_.pieces[*id];
    pairs_.push({merged.score, left, right, num_bytes});
    if (merged.kind == PieceKind::kUnused) splits_[piece] = symbols_[left].num_bytes;
  }

  // Symbols only grow or vanish, so a pair of the same size is the same pair.
  bool still_holds(const Pair& pair) const {
    const Symbol& left = symbols_[pair.left];
    const Symbol& right = symbols_[pair.right];
    return left.num_bytes != 0 && right.num_bytes != 0 && left.num_bytes + right.num_bytes == pair.num_bytes;
  }

  void merge(const Pair& pair) {
    Symbol& left = symbols_[pair.left];
    Symbol& right = symbols_[pair.right];
    left.num_bytes = pair.num_bytes;
    left.next = right.next;
    right.num_bytes = 0;
    if (left.next != kNone) symbols_[left.next].previous = pair.left;
    consider(left.previous, pair.left);
    consider(pair.left, left.next);
  }

  const BpeEncoder& encoder_;
  const std::string_view text_;
  std::vector<Symbol>& symbols_;
  std::priority_queue<Pair> pairs_;
  // Unused piece -> bytes of its left half. Views of text_.
  std::unordered_map<std::string_view, size_t> splits_;
};

BpeEncoder::BpeEncoder(const SentencePieceModel& model, const SpecialPieces& specials)
    : model_(model), specials_(specials) {
  if (model.byte_fallback) byte_ids_.resize(256);
  for (uint32_t id = 0; id < model.pieces.size(); ++id) {
    const SentencePieceModel::Piece& piece = model.pieces[id];
    if (piece.kind == PieceKind::kNormal || piece.kind == PieceKind::kUnused) {
      pieces_.emplace(piece.text, id);
      // Unfolding an unused piece depends on the order of all merges of the text.
      if (piece.kind == PieceKind::kUnused || crosses_words(piece.text)) spaces_begin_pieces_ = false;
    }
    if (piece.kind == PieceKind::kUnknown) unknown_id_ = id;
    if (piece.kind == PieceKind::kByte && model.byte_fallback) byte_ids_[*byte_of_piece(piece.text)] = id;
  }
  // Without byte pieces an unknown character is one with those before it, of another word even.
  if (spaces_begin_pieces_ && model.byte_fallback) words_ = std::make_unique<WordCache>();
}

std::optional<uint32_t> BpeEncoder::find(std::string_view piece) const {
  const auto found = pieces_.find(piece);
  if (found == pieces_.end()) return std::nullopt;
  return found->second;
}

std::vector<BpeEncoder::Symbol> BpeEncoder::split(const NormalizedText& text) const {
  const std::string_view all = text.text;
  std::vector<Symbol> symbols;
  symbols.reserve(all.size());
  ByteRanges::Walk plain(text.plain);
  auto literal = text.literals.begin();
  for (size_t at = 0; at < all.size();) {
    Symbol symbol;
    symbol.begin = at;
    symbol.num_bytes = scan_utf8(all.substr(at)).num_bytes;
    const SpecialPiece* special = specials_.match_front(all.substr(at));
    if (literal != text.literals.end() && *literal == at) {
      symbol.is_frozen = true;  // without an id: spelled in byte pieces
      ++literal;
    } else if (special != nullptr &&
               (special->is_one_character || !plain.touches(at, at + special->text.size()))) {
      symbol.num_bytes = special->text.size();
      symbol.id = special->id;
      symbol.is_frozen = true;
    }
    at += symbol.num_bytes;
    symbol.previous = symbols.empty() ? kNone : symbols.size() - 1;
    symbol.next = at < all.size() ? symbols.size() + 1 : kNone;
    symbols.push_back(symbol);
  }
  return symbols;
}

void BpeEncoder::append(std::string_view piece, std::optional<uint32_t> id, Output& output) const {
  const bool is_run = output.ends_unknown;  // without byte fallback a run of unknown characters is one <unk>
  output.ends_unknown = !id;
  if (id) {
    output.ids.push_back(*id);
  } else if (!byte_ids_.empty()) {
    for (const char byte : piece) output.ids.push_back(byte_ids_[static_cast<unsigned char>(byte)]);
  } else if (!is_run) {
    output.ids.push_back(unknown_id_);
  }
}

// The end of the symbols that merges can join with the one at begin: the next word's beginning, or
// everything.
size_t BpeEncoder::word_end(std::string_view text, const std::vector<Symbol>& symbols, size_t begin) const {
  if (!spaces_begin_pieces_) return symbols.size();
  const auto is_space = [&](size_t i) { return text.substr(symbols[i].begin).starts_with(kSpaceSymbol); };
  size_t end = begin + 1;
  while (end < symbols.size() && (!is_space(end) || is_space(end - 1))) ++end;
  return end;
}

std::vector<uint32_t> BpeEncoder::encode(const NormalizedText& normalized) const {
  const std::string_view text = normalized.text;
  std::vector<Symbol> symbols = split(normalized);
  Merging merging(*this, text, symbols);
  Output output;
  for (size_t begin = 0; begin < symbols.size();) {
    const size_t end = word_end(text, symbols, begin);
    const size_t end_byte = end < symbols.size() ? symbols[end].begin : text.size();
    const std::string_view word = text.substr(symbols[begin].begin, end_byte - symbols[begin].begin);
    const bool is_known_by_itself =
        words_ && std::none_of(symbols.begin() + static_cast<std::ptrdiff_t>(begin),
                               symbols.begin() + static_cast<std::ptrdiff_t>(end),
                               [](const Symbol& symbol) { return symbol.is_frozen; });
    if (!is_known_by_itself || !words_->find(word, output.ids)) {
      const size_t num_before = output.ids.size();
      merging.run(begin, end);
      append_word(merging, text, symbols, begin, output);
      if (is_known_by_itself) words_->keep(word, std::span(output.ids).subspan(num_before));
    }
    begin = end;
  }
  return std::move(output.ids);
}

void BpeEncoder::append_word(const Merging& merging, std::string_view text,
                             const std::vector<Symbol>& symbols, size_t begin, Output& output) const {
  std::vector<std::string_view> pieces;
  for (size_t i = begin; i != kNone; i = symbols[i].next) {
    const std::string_view piece = text.substr(symbols[i].begin, symbols[i].num_bytes);
    if (symbols[i].is_frozen) {
      append(piece, symbols[i].id, output);
      continue;
    }
    pieces.clear();
    merging.unfold(piece, pieces);
    for (const std::string_view part : pieces) append(part, find(part), output);
  }
}

}  // namespace octet::router
