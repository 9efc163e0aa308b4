#include "worker/stage/token_texts.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/sentencepiece_model.h"
#include "base/utf8.h"

namespace octet::worker {
namespace {

// A user-defined piece of one character is that character in any text, and no command to the model.
bool is_text(const SentencePieceModel::Piece& piece) {
  if (piece.kind == PieceKind::kUserDefined) return scan_utf8(piece.text).num_bytes == piece.text.size();
  return piece.kind == PieceKind::kNormal || piece.kind == PieceKind::kByte;
}

// Of the first token of a text. A byte piece is never shortened.
std::string text_at_start(const SentencePieceModel& model, const SentencePieceModel::Piece& piece) {
  std::string text = piece_bytes(model, piece);
  const bool drops_space = leading_space_of(model) != LeadingSpace::kKept && piece.kind != PieceKind::kByte;
  if (drops_space && text.starts_with(' ')) text.erase(0, 1);
  return text;
}

}  // namespace

Constraints read_constraints(const std::string& model_dir, uint32_t vocab_size) {
  const auto model = read_sentencepiece_model(absl::StrCat(model_dir, "/tokenizer.model"));
  if (!model.ok()) {
    return Constraints(absl::StrCat("tokenizer.model in the last stage's model folder: ",
                                    std::string(model.status().message())));
  }
  TokenTexts texts;
  texts.in_text.resize(vocab_size);
  texts.at_text_start.resize(vocab_size);
  for (size_t id = 0; id < std::min<size_t>(vocab_size, model->pieces.size()); ++id) {
    if (!is_text(model->pieces[id])) continue;
    texts.in_text[id] = piece_bytes(*model, model->pieces[id]);
    texts.at_text_start[id] = text_at_start(*model, model->pieces[id]);
  }
  return Constraints(std::move(texts));
}

}  // namespace octet::worker
