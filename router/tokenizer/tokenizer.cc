#include "router/tokenizer/tokenizer.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/sentencepiece_model.h"
#include "base/status.h"
#include "base/utf8.h"
#include "router/tokenizer/bpe.h"
#include "router/tokenizer/detokenizer.h"
#include "router/tokenizer/normalizer.h"
#include "router/tokenizer/special_pieces.h"

namespace octet::router {
namespace {

SpecialPieces special_pieces_of(const SentencePieceModel& model) {
  std::vector<SpecialPiece> special;
  for (uint32_t id = 0; id < model.pieces.size(); ++id) {
    const std::string& text = model.pieces[id].text;
    if (model.pieces[id].kind != PieceKind::kUserDefined) continue;
    special.push_back({.text = text, .id = id, .is_one_character = scan_utf8(text).num_bytes == text.size()});
  }
  return SpecialPieces(std::move(special));
}

Normalizer::Options normalizer_options(const SentencePieceModel& model) {
  return {.add_dummy_prefix = model.add_dummy_prefix,
          .remove_extra_whitespaces = model.remove_extra_whitespaces,
          .keep_literals = model.byte_fallback};
}

}  // namespace

struct Tokenizer::Impl {
  Impl(SentencePieceModel sentencepiece_model, CharMap char_map)
      : model(std::move(sentencepiece_model)),
        specials(special_pieces_of(model)),
        normalizer(normalizer_options(model), std::move(char_map), specials),
        bpe(model, specials) {
    for (uint32_t id = 0; id < model.pieces.size(); ++id) {
      ids.emplace(model.pieces[id].text, id);
      bytes.push_back(piece_bytes(model, model.pieces[id]));
      max_piece_bytes = std::max(max_piece_bytes, bytes.back().size());
    }
  }

  bool has_kind(TokenId id, PieceKind kind) const {
    return id < model.pieces.size() && model.pieces[id].kind == kind;
  }
  std::optional<TokenId> control_id(const std::string& piece) const {
    const auto found = ids.find(piece);
    if (found == ids.end() || !has_kind(found->second, PieceKind::kControl)) return std::nullopt;
    return found->second;
  }

  // The members refer to those before them; the struct is neither copied nor moved.
  const SentencePieceModel model;
  const SpecialPieces specials;
  const Normalizer normalizer;
  const BpeEncoder bpe;
  std::unordered_map<std::string_view, TokenId> ids;  // views of model
  std::vector<std::string> bytes;                     // [vocab_size]
  size_t max_piece_bytes = 1;
  TokenId bos_id = 0;
  TokenId eos_id = 0;
};

absl::StatusOr<std::unique_ptr<Tokenizer::Impl>> Tokenizer::make_impl(const std::string& path) {
  auto model = read_sentencepiece_model(path);
  if (!model.ok()) return model.status();
  auto char_map = model->charsmap.empty() ? CharMap() : CharMap::parse(model->charsmap);
  if (!char_map.ok()) return char_map.status();
  auto impl = std::make_unique<Impl>(*std::move(model), *std::move(char_map));
  const auto bos_id = impl->control_id(impl->model.bos_piece);
  const auto eos_id = impl->control_id(impl->model.eos_piece);
  if (!bos_id || !eos_id) {
    return absl::InvalidArgumentError(
        "has no control piece for the begin (<s>) or the end (</s>) of a sequence");
  }
  impl->bos_id = *bos_id;
  impl->eos_id = *eos_id;
  return impl;
}

absl::StatusOr<std::shared_ptr<const Tokenizer>> Tokenizer::load(const std::string& path) {
  auto impl = make_impl(path);
  if (!impl.ok()) {
    const std::string message = absl::StrCat("tokenizer file ", path, ": ", impl.status().message());
    return absl::Status(impl.status().code(), message);
  }
  return std::shared_ptr<const Tokenizer>(new Tokenizer(*std::move(impl)));
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

uint32_t Tokenizer::vocab_size() const {
  return static_cast<uint32_t>(impl_->model.pieces.size());
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
  return leading_space_of(impl_->model);
}

std::optional<TokenId> Tokenizer::piece_id(std::string_view piece) const {
  const auto found = impl_->ids.find(piece);
  if (found == impl_->ids.end()) return std::nullopt;
  return found->second;
}

std::vector<TokenId> Tokenizer::encode(std::string_view text) const {
  const TextPart part{.text = text, .kind = TextPart::Kind::kTemplate};
  return encode_parts({&part, 1});
}

std::vector<TokenId> Tokenizer::encode_plain(std::string_view text) const {
  const TextPart part{.text = text, .kind = TextPart::Kind::kPlain};
  return encode_parts({&part, 1});
}

std::vector<TokenId> Tokenizer::encode_parts(std::span<const TextPart> parts) const {
  MarkedText joined;
  for (const TextPart& part : parts) {
    const size_t begin = joined.text.size();
    joined.text.append(part.text);
    if (part.kind == TextPart::Kind::kPlain) joined.plain.append(begin, joined.text.size());
  }
  return impl_->bpe.encode(impl_->normalizer.run(joined, Normalizer::Position::kBegin));
}

std::vector<TokenId> Tokenizer::encode_continuation(std::string_view text) const {
  const MarkedText marked{.text = std::string(text), .plain = {}};
  return impl_->bpe.encode(impl_->normalizer.run(marked, Normalizer::Position::kMiddle));
}

std::string Tokenizer::decode(std::span<const TokenId> ids) const {
  Detokenizer detokenizer(shared_from_this(), /*after_prompt=*/false);
  std::string text;
  for (const TokenId id : ids) text.append(detokenizer.add(id));
  text.append(detokenizer.finish());
  return text;
}

std::string_view Tokenizer::piece(TokenId id) const {
  if (id >= vocab_size()) return {};
  return impl_->model.pieces[id].text;
}

std::string_view Tokenizer::bytes(TokenId id) const {
  if (id >= vocab_size()) return {};
  return impl_->bytes[id];
}

bool Tokenizer::is_control(TokenId id) const {
  return impl_->has_kind(id, PieceKind::kControl);
}
bool Tokenizer::is_special(TokenId id) const {
  return impl_->has_kind(id, PieceKind::kUserDefined);
}
bool Tokenizer::is_byte(TokenId id) const {
  return impl_->has_kind(id, PieceKind::kByte);
}
bool Tokenizer::is_unknown(TokenId id) const {
  return impl_->has_kind(id, PieceKind::kUnknown);
}

}  // namespace octet::router
