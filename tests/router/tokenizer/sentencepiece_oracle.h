// Google's SentencePiece library, to compare with. Only for programs without protobuf and Abseil's gRPC
// parts: Debian's libsentencepiece brings an older protobuf under the same names.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace octet::router {

class SentencePieceOracle {
 public:
  // Throws when the library refuses the model.
  explicit SentencePieceOracle(const std::string& model_bytes);
  ~SentencePieceOracle();
  std::vector<uint32_t> encode(std::string_view text) const;
  std::string decode(const std::vector<uint32_t>& ids) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The bytes of a new BPE model; options as of spm_train ("--add_dummy_prefix=true"). Throws when training
// fails.
std::string train_bpe(const std::vector<std::string>& sentences, const std::string& options);

}  // namespace octet::router
