#include "router/tokenizer/tokenizer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/status.h"
#include "router/tokenizer/sentencepiece_library.h"
#include "router/tokenizer/sentencepiece_model.h"
#include "router/tokenizer/special_pieces.h"
#include "router/tokenizer/utf8.h"

namespace octet::router {
namespace {

constexpr std::string_view kSpaceSymbol = "\xE2\x96\x81";  // U+2581, a space inside pieces
constexpr uintmax_t kMaxModelBytes = 64 << 20;             // the family's files have 4.5 MB

absl::StatusOr<std::string> read_model_file(const std::string& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status))
    return absl::NotFoundError(absl::StrCat("tokenizer file ", path, ": not found"));
  if (!std::filesystem::is_regular_file(status)) {
    return absl::InvalidArgumentError(absl::StrCat("tokenizer file ", path, ": not a file"));
  }
  const uintmax_t num_bytes = std::filesystem::file_size(path, error);
  if (error || num_bytes == 0 || num_bytes > kMaxModelBytes) {
    return absl::InvalidArgumentError(absl::StrCat("tokenizer file ", path, ": has ", error ? 0 : num_bytes,
                                                   " bytes; expected 1 to ", kMaxModelBytes));
  }
  std::string bytes(num_bytes, '\0');
  std::ifstream file(path, std::ios::binary);
  if (!file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()))) {
    return absl::InvalidArgumentError(absl::StrCat("tokenizer file ", path, ": cannot be read"));
  }
  return bytes;
}

// What the rest of this file relies on.
absl::Status check_supported(const SentencePieceFacts& facts) {
  if (!facts.is_bpe) return absl::InvalidArgumentError("is not of the type BPE");
  if (!facts.escape_whitespaces)
    return absl::InvalidArgumentError("has escape_whitespaces off, which is not supported");
  if (facts.treat_whitespace_as_suffix) {
    return absl::InvalidArgumentError("has treat_whitespace_as_suffix on, which is not supported");
  }
  if (facts.has_denormalizer) return absl::InvalidArgumentError("has a denormalizer, which is not supported");
  return absl::OkStatus();
}

LeadingSpace leading_space_of(const SentencePieceFacts& facts) {
  if (facts.remove_extra_whitespaces) return LeadingSpace::kEachDropped;
  return facts.add_dummy_prefix ? LeadingSpace::kFirstDropped : LeadingSpace::kKept;
}

// "<0x0A>" -> 10.
std::optional<uint8_t> byte_of_piece(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return std::nullopt;
  uint8_t byte = 0;
  const auto [end, error] = std::from_chars(piece.data() + 3, piece.data() + 5, byte, 16);
  if (error != std::errc() || end != piece.data() + 5) return std::nullopt;
  return byte;
}

bool has_several_characters(std::string_view piece) {
  return !piece.empty() && scan_utf8(piece).num_bytes < piece.size();
}

// Walks over joined parts from left to right and tells which bytes are a client's.
class PlainRanges {
 public:
  explicit PlainRanges(std::span<const TextPart> parts) {
    size_t begin = 0;
    for (const TextPart& part : parts) {
      const size_t end = begin + part.text.size();
      if (part.kind == TextPart::Kind::kPlain && end > begin) ranges_.emplace_back(begin, end);
      begin = end;
    }
  }
  // Whether any of [begin, end) is plain; begin must not be smaller than in the call before.
  bool touches(size_t begin, size_t end) {
    while (next_ < ranges_.size() && ranges_[next_].second <= begin) ++next_;
    return next_ < ranges_.size() && ranges_[next_].first < end;
  }

 private:
  std::vector<std::pair<size_t, size_t>> ranges_;
  size_t next_ = 0;
};

}  // namespace

struct Tokenizer::Impl {
  // A stretch of a text that is encoded by itself, or the tokens that stand in its place.
  struct Stretch {
    std::string_view text;
    std::vector<TokenId> tokens;
  };

  SentencePieceLibrary library;
  std::vector<PieceKind> kinds;    // [vocab_size]
  std::vector<std::string> bytes;  // [vocab_size]
  size_t max_piece_bytes = 1;
  TokenId bos_id = 0;
  TokenId eos_id = 0;
  LeadingSpace leading_space = LeadingSpace::kKept;
  std::optional<std::array<TokenId, 256>> byte_ids;  // when the model has byte pieces
  SpecialPieces specials{{}};
  std::vector<TokenId> dummy_prefix;  // what stands before a special piece that begins a text

  absl::Status load(const std::string& serialized_model);
  absl::Status load_pieces(const SentencePieceFacts& facts);

  std::vector<TokenId> run(std::string_view text) const;
  std::vector<TokenId> spell_in_bytes(std::string_view text) const;
  // The tokens of text with something before it (a special piece), after it, or both, without theirs.
  enum class Neighbours { kBefore, kAfter, kBoth };
  std::vector<TokenId> run_beside(std::string_view text, Neighbours neighbours) const;
  std::vector<Stretch> split(std::string_view text, PlainRanges plain, bool& is_whole) const;
};

absl::Status Tokenizer::Impl::load(const std::string& serialized_model) {
  const auto facts = read_sentencepiece_facts(serialized_model);
  if (!facts.ok()) return facts.status();
  const absl::Status supported = check_supported(*facts);
  if (!supported.ok()) return supported;
  const auto refused = library.load(serialized_model);
  if (refused) return absl::InvalidArgumentError(absl::StrCat("is refused by SentencePiece: ", *refused));
  if (facts->kinds.size() != library.num_pieces()) {
    return absl::InvalidArgumentError("is not a SentencePiece model (its pieces cannot be counted)");
  }
  if (!library.bos_id() || !library.eos_id()) {
    return absl::InvalidArgumentError("has no piece for the begin (<s>) or the end (</s>) of a sequence");
  }
  bos_id = *library.bos_id();
  eos_id = *library.eos_id();
  leading_space = leading_space_of(*facts);
  return load_pieces(*facts);
}

absl::Status Tokenizer::Impl::load_pieces(const SentencePieceFacts& facts) {
  kinds = facts.kinds;
  std::vector<SpecialPieces::Piece> special;
  std::array<TokenId, 256> byte_tokens{};
  size_t num_byte_tokens = 0;
  for (TokenId id = 0; id < kinds.size(); ++id) {
    const std::string& piece = library.piece(id);
    std::string text;
    if (kinds[id] == PieceKind::kByte) {
      const auto byte = byte_of_piece(piece);
      if (!byte)
        return absl::InvalidArgumentError(absl::StrCat("byte piece ", id, " is not of the form <0x0A>"));
      text.assign(1, static_cast<char>(*byte));
      byte_tokens[*byte] = id;
      ++num_byte_tokens;
    } else if (kinds[id] == PieceKind::kUnknown) {
      text = library.decode({&id, 1}).value_or("");
    } else if (kinds[id] != PieceKind::kControl) {
      text = absl::StrReplaceAll(piece, {{absl_view(kSpaceSymbol), " "}});
    }
    if (!is_valid_utf8(text) && kinds[id] != PieceKind::kByte) {
      return absl::InvalidArgumentError(absl::StrCat("piece ", id, " is not UTF-8"));
    }
    if (kinds[id] == PieceKind::kUserDefined && has_several_characters(piece)) special.push_back({piece, id});
    max_piece_bytes = std::max(max_piece_bytes, text.size());
    bytes.push_back(std::move(text));
  }
  if (num_byte_tokens == byte_tokens.size()) byte_ids = byte_tokens;
  specials = SpecialPieces(std::move(special));
  if (specials.guard() == nullptr) {
    return absl::InvalidArgumentError(
        "has no special (user-defined) piece, such as <extra_id_1>, that is found in any text");
  }
  dummy_prefix = run(specials.guard()->text);
  dummy_prefix.pop_back();
  return absl::OkStatus();
}

std::vector<TokenId> Tokenizer::Impl::spell_in_bytes(std::string_view text) const {
  std::vector<TokenId> tokens;
  for (const char byte : text)
    tokens.push_back(byte_ids ? (*byte_ids)[static_cast<unsigned char>(byte)] : library.unknown_id());
  return tokens;
}

std::vector<TokenId> Tokenizer::Impl::run(std::string_view text) const {
  // SentencePiece refuses no valid UTF-8. If it ever did, byte pieces spell the same text.
  const auto tokens = library.encode(text);
  return tokens ? *tokens : spell_in_bytes(text);
}

std::vector<TokenId> Tokenizer::Impl::run_beside(std::string_view text, Neighbours neighbours) const {
  const SpecialPieces::Piece& guard = *specials.guard();
  const bool before = neighbours != Neighbours::kAfter;
  const bool after = neighbours != Neighbours::kBefore;
  const std::string none;
  std::vector<TokenId> tokens =
      run(absl::StrCat(before ? guard.text : none, absl_view(text), after ? guard.text : none));
  if (after) tokens.pop_back();
  if (before) tokens.erase(tokens.begin(), std::find(tokens.begin(), tokens.end(), guard.id) + 1);
  return tokens;
}

// Cuts text so that no stretch holds a special piece that touches a plain range: SentencePiece, given the
// stretches one by one, cannot match it. A special piece is a wall for merges, so cutting at those that stay
// tokens changes nothing. is_whole: nothing had to be kept plain, so SentencePiece may as well be given the
// whole text.
std::vector<Tokenizer::Impl::Stretch> Tokenizer::Impl::split(std::string_view text, PlainRanges plain,
                                                             bool& is_whole) const {
  std::vector<Stretch> stretches;
  size_t begin = 0;  // of the stretch that is growing
  const auto cut = [&](size_t end) {
    if (end > begin) stretches.push_back({text.substr(begin, end - begin), {}});
    begin = end;
  };
  is_whole = true;
  for (size_t at = 0; at < text.size();) {
    const size_t num_bytes = scan_utf8(text.substr(at)).num_bytes;
    const SpecialPieces::Piece* piece = specials.match_front(text.substr(at));
    if (piece != nullptr && !plain.touches(at, at + piece->text.size())) {
      cut(at);
      stretches.push_back({{}, {piece->id}});
      at = begin = at + piece->text.size();
      continue;
    }
    if (piece != nullptr) {
      is_whole = false;
      cut(at + num_bytes);  // after the first character
    } else if (byte_ids && text.substr(at).starts_with(kSpaceSymbol) && plain.touches(at, at + num_bytes)) {
      is_whole = false;
      cut(at);
      stretches.push_back({{}, spell_in_bytes(kSpaceSymbol)});
      begin = at + num_bytes;
    }
    at += num_bytes;
  }
  cut(text.size());
  return stretches;
}

absl::StatusOr<std::shared_ptr<const Tokenizer>> Tokenizer::load(const std::string& path) {
  const auto serialized_model = read_model_file(path);
  if (!serialized_model.ok()) return serialized_model.status();
  auto impl = std::make_unique<Impl>();
  const absl::Status loaded = impl->load(*serialized_model);
  if (!loaded.ok())
    return absl::InvalidArgumentError(absl::StrCat("tokenizer file ", path, ": ", loaded.message()));
  return std::shared_ptr<const Tokenizer>(new Tokenizer(std::move(impl)));
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

uint32_t Tokenizer::vocab_size() const {
  return static_cast<uint32_t>(impl_->kinds.size());
}
TokenId Tokenizer::bos_id() const {
  return impl_->bos_id;
}
TokenId Tokenizer::eos_id() const {
  return impl_->eos_id;
}
size_t Tokenizer::max_piece_bytes() const {
  return impl_->max_piece_bytes;
}
LeadingSpace Tokenizer::leading_space() const {
  return impl_->leading_space;
}

std::optional<TokenId> Tokenizer::piece_id(std::string_view piece) const {
  const auto id = impl_->library.piece_id(piece);
  if (this->piece(id) != piece) return std::nullopt;  // SentencePiece gives <unk> for what it does not have
  return id;
}

std::vector<TokenId> Tokenizer::encode(std::string_view text) const {
  return impl_->run(text);
}

std::vector<TokenId> Tokenizer::encode_plain(std::string_view text) const {
  const TextPart part{.text = text, .kind = TextPart::Kind::kPlain};
  return encode_parts({&part, 1});
}

std::vector<TokenId> Tokenizer::encode_continuation(std::string_view text) const {
  return impl_->run_beside(text, Impl::Neighbours::kBefore);
}

std::vector<TokenId> Tokenizer::encode_parts(std::span<const TextPart> parts) const {
  std::string text;
  for (const TextPart& part : parts) text.append(part.text);
  bool is_whole = true;
  const std::vector<Impl::Stretch> stretches = impl_->split(text, PlainRanges(parts), is_whole);
  if (is_whole) return impl_->run(text);

  std::vector<TokenId> tokens;
  if (!stretches.front().tokens.empty()) tokens = impl_->dummy_prefix;
  for (size_t i = 0; i < stretches.size(); ++i) {
    const Impl::Stretch& stretch = stretches[i];
    const bool is_first = i == 0;
    const bool is_last = i + 1 == stretches.size();
    std::vector<TokenId> more = stretch.tokens;
    if (more.empty()) {
      const auto neighbours = is_first  ? Impl::Neighbours::kAfter
                              : is_last ? Impl::Neighbours::kBefore
                                        : Impl::Neighbours::kBoth;
      more = impl_->run_beside(stretch.text, neighbours);
    }
    tokens.insert(tokens.end(), more.begin(), more.end());
  }
  return tokens;
}

std::string Tokenizer::decode(std::span<const TokenId> ids) const {
  std::vector<TokenId> known(ids.begin(), ids.end());
  // An id beyond the pieces has no text, like a control piece.
  for (TokenId& id : known) id = id < vocab_size() ? id : impl_->bos_id;
  return impl_->library.decode(known).value_or("");
}

std::string_view Tokenizer::piece(TokenId id) const {
  if (id >= vocab_size()) return {};
  return impl_->library.piece(id);
}

std::string_view Tokenizer::bytes(TokenId id) const {
  if (id >= vocab_size()) return {};
  return impl_->bytes[id];
}

bool Tokenizer::is_control(TokenId id) const {
  return id < vocab_size() && impl_->kinds[id] == PieceKind::kControl;
}
bool Tokenizer::is_special(TokenId id) const {
  return id < vocab_size() && impl_->kinds[id] == PieceKind::kUserDefined;
}
bool Tokenizer::is_unknown(TokenId id) const {
  return id < vocab_size() && impl_->kinds[id] == PieceKind::kUnknown;
}
bool Tokenizer::is_byte(TokenId id) const {
  return id < vocab_size() && impl_->kinds[id] == PieceKind::kByte;
}

}  // namespace octet::router
