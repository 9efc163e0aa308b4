#include "router/tokenizer/sentencepiece_library.h"

#include <sentencepiece_processor.h>

namespace octet::router {
namespace {

std::optional<uint32_t> id_if_defined(int id) {
  if (id < 0) return std::nullopt;
  return static_cast<uint32_t>(id);
}

}  // namespace

struct SentencePieceLibrary::Impl {
  sentencepiece::SentencePieceProcessor processor;
};

SentencePieceLibrary::SentencePieceLibrary() : impl_(std::make_unique<Impl>()) {}
SentencePieceLibrary::~SentencePieceLibrary() = default;

std::optional<std::string> SentencePieceLibrary::load(std::string_view serialized_model) {
  const auto status = impl_->processor.LoadFromSerializedProto(serialized_model);
  if (status.ok()) return std::nullopt;
  return status.message();
}

uint32_t SentencePieceLibrary::num_pieces() const {
  return static_cast<uint32_t>(impl_->processor.GetPieceSize());
}

const std::string& SentencePieceLibrary::piece(uint32_t id) const {
  return impl_->processor.IdToPiece(static_cast<int>(id));
}

uint32_t SentencePieceLibrary::piece_id(std::string_view piece) const {
  return static_cast<uint32_t>(impl_->processor.PieceToId(piece));
}

std::optional<uint32_t> SentencePieceLibrary::bos_id() const {
  return id_if_defined(impl_->processor.bos_id());
}
std::optional<uint32_t> SentencePieceLibrary::eos_id() const {
  return id_if_defined(impl_->processor.eos_id());
}
uint32_t SentencePieceLibrary::unknown_id() const {
  return static_cast<uint32_t>(impl_->processor.unk_id());
}

std::optional<std::vector<uint32_t>> SentencePieceLibrary::encode(std::string_view text) const {
  std::vector<int> ids;
  if (!impl_->processor.Encode(text, &ids).ok()) return std::nullopt;
  return std::vector<uint32_t>(ids.begin(), ids.end());
}

std::optional<std::string> SentencePieceLibrary::decode(std::span<const uint32_t> ids) const {
  std::string text;
  if (!impl_->processor.Decode(std::vector<int>(ids.begin(), ids.end()), &text).ok()) return std::nullopt;
  return text;
}

}  // namespace octet::router
