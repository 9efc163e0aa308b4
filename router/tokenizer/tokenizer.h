// A SentencePiece BPE tokenizer: the model files, tokens and texts of Google's library, reimplemented so that
// a client's text can be kept apart from the template's, and because Debian's library cannot share a process
// with gRPC (see sentencepiece_model.h). Immutable after load, used by many threads. A "special" piece is a
// user-defined piece such as <extra_id_1>, which is matched inside any text; control pieces (<s>, </s>) and
// byte pieces (<0x0A>) never match text, so "</s>" in a prompt is a few ordinary tokens.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/sentencepiece_model.h"

namespace octet::router {

using TokenId = uint32_t;

// A stretch of a text that is tokenised as one string.
struct TextPart {
  enum class Kind {
    kTemplate,  // special pieces that lie wholly in template parts become their tokens
    kPlain,     // special pieces stay text
  };
  std::string_view text;
  Kind kind = Kind::kPlain;
};

class Tokenizer : public std::enable_shared_from_this<Tokenizer> {
 public:
  // Errors: NOT_FOUND or INVALID_ARGUMENT naming the file and what is wrong with it: not a SentencePiece
  // model, not BPE, no <s> or </s>, a flag that is not supported.
  static absl::StatusOr<std::shared_ptr<const Tokenizer>> load(const std::string& path);
  ~Tokenizer();

  // Number of pieces. The model's vocabulary may be padded beyond it: such ids are valid everywhere below and
  // have no text.
  uint32_t vocab_size() const;
  TokenId bos_id() const;
  TokenId eos_id() const;
  // The id of a piece such as "<extra_id_1>", looked up, never assumed.
  std::optional<TokenId> piece_id(std::string_view piece) const;

  // All encoders take valid UTF-8 (utf8.h); broken bytes would become U+FFFD.
  //
  // Text as one string, as NeMo does: special pieces inside it are matched, no BOS is added.
  std::vector<TokenId> encode(std::string_view text) const;
  // Text in which special pieces stay text: no special token comes out. decode() gives back exactly this text
  // when the model file normalises nothing (the family's do not). Equal to encode() when text holds neither a
  // special piece nor U+2581, which SentencePiece takes for a space and this spells in byte pieces.
  std::vector<TokenId> encode_plain(std::string_view text) const;
  // The parts joined, tokenised as one string (merges cross the seams), each with its own rule for special
  // pieces.
  std::vector<TokenId> encode_parts(std::span<const TextPart> parts) const;
  // The tokens that text makes in the middle of a longer text: as encode(), but never with a dummy prefix.
  std::vector<TokenId> encode_continuation(std::string_view text) const;

  // As SentencePiece decodes the whole list; special pieces appear as text, control pieces (<s>, </s>) as
  // nothing, each byte of a broken character as U+FFFD.
  std::string decode(std::span<const TokenId> ids) const;

  // The piece as SentencePiece writes it ("▁hello", "<0x0A>").
  std::string_view piece(TokenId id) const;
  // The bytes the token adds in the middle of a text (" hello", "\n"); may be a part of a UTF-8 character. ""
  // for a control piece.
  std::string_view bytes(TokenId id) const;
  // Upper bound of bytes(id).size(): a text of B bytes has at least B / max_piece_bytes() tokens.
  size_t max_piece_bytes() const;
  bool is_control(TokenId id) const;  // <s>, </s>, <pad>; <unk> is not: it decodes to " \u2047 "
  bool is_special(TokenId id) const;  // user-defined, such as <extra_id_1>
  bool is_byte(TokenId id) const;     // <0x00> to <0xFF>
  bool is_unknown(TokenId id) const;  // <unk>
  LeadingSpace leading_space() const;
  // Whether a text's first piece loses its leading space when decoded (SentencePiece's dummy prefix).
  bool strips_leading_space() const { return leading_space() != LeadingSpace::kKept; }

 private:
  struct Impl;
  static absl::StatusOr<std::unique_ptr<Impl>> make_impl(const std::string& path);
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace octet::router
