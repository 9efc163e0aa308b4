// SentencePiece behind the words that Octet uses. Immutable after load, used by many threads.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace octet::router {

using TokenId = uint32_t;

class Tokenizer {
 public:
  // Errors: NOT_FOUND or INVALID_ARGUMENT naming the file.
  static absl::StatusOr<std::shared_ptr<const Tokenizer>> load(const std::string& path);
  ~Tokenizer();

  uint32_t vocab_size() const;
  TokenId bos_id() const;
  TokenId eos_id() const;
  // The id of a piece such as "<extra_id_1>", looked up, never assumed.
  std::optional<TokenId> piece_id(std::string_view piece) const;

  // Text as one string, as NeMo does: special pieces inside it are matched, no BOS is added. Text must be UTF-8.
  std::vector<TokenId> encode(std::string_view text) const;
  // Text in which special (user-defined and control) pieces stay plain text: what a client puts inside a chat message.
  std::vector<TokenId> encode_plain(std::string_view text) const;
  // As SentencePiece decodes the whole list; special pieces appear as text, control pieces (<s>, </s>) as nothing.
  std::string decode(std::span<const TokenId> ids) const;

  // The piece as SentencePiece writes it ("▁hello", "<0x0A>").
  std::string_view piece(TokenId id) const;
  // The bytes the token adds in the middle of a text (" hello", "\n"); may be a part of a UTF-8 character. Control: "".
  std::string_view bytes(TokenId id) const;
  bool is_control(TokenId id) const;   // <s>, </s>, <pad>, <unk>
  bool is_special(TokenId id) const;   // user-defined, such as <extra_id_1>
  // Whether a text's first piece loses its leading space when decoded (SentencePiece's dummy prefix).
  bool strips_leading_space() const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace octet::router
