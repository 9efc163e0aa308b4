// Tokenizer model files: a model that can be used, or a refusal.
#include "base/sentencepiece_model.h"

#include "base/check.h"
#include "base/utf8.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto model = octet::parse_sentencepiece_model({reinterpret_cast<const char*>(data), size});
  if (!model.ok()) {
    OCTET_CHECK(absl::IsInvalidArgument(model.status()), model.status());
    return 0;
  }
  static_cast<void>(octet::leading_space_of(*model));
  for (const auto& piece : model->pieces) {
    OCTET_CHECK(!piece.text.empty() && octet::is_valid_utf8(piece.text));
    octet::piece_bytes(*model, piece);
  }
  return 0;
}
