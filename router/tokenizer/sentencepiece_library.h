// The SentencePiece library behind the standard library's types. Its header defines absl::string_view in a
// way that Debian's Abseil contradicts, so it is included in one file only, which includes nothing of Abseil.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace octet::router {

class SentencePieceLibrary {
 public:
  SentencePieceLibrary();
  ~SentencePieceLibrary();

  // Takes the bytes of a model file. Returns what is wrong with them, if anything; then nothing else may be
  // called.
  std::optional<std::string> load(std::string_view serialized_model);

  uint32_t num_pieces() const;
  // id must be below num_pieces().
  const std::string& piece(uint32_t id) const;
  // The id of <unk> for a piece that does not exist.
  uint32_t piece_id(std::string_view piece) const;
  // Empty when the model has no such piece.
  std::optional<uint32_t> bos_id() const;
  std::optional<uint32_t> eos_id() const;
  uint32_t unknown_id() const;

  // Empty when the library reports an error, which it does for no valid UTF-8 and no ids below num_pieces().
  std::optional<std::vector<uint32_t>> encode(std::string_view text) const;
  std::optional<std::string> decode(std::span<const uint32_t> ids) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace octet::router
