#include "tests/router/tokenizer/sentencepiece_oracle.h"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <stdexcept>

namespace octet::router {
namespace {

void check(const sentencepiece::util::Status& status) {
  if (!status.ok()) throw std::runtime_error(status.message());
}

class Sentences : public sentencepiece::SentenceIterator {
 public:
  explicit Sentences(const std::vector<std::string>& all) : all_(all) {}
  bool done() const override { return next_ == all_.size(); }
  void Next() override { ++next_; }
  const std::string& value() const override { return all_[next_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  const std::vector<std::string>& all_;
  size_t next_ = 0;
};

}  // namespace

struct SentencePieceOracle::Impl {
  sentencepiece::SentencePieceProcessor processor;
};

SentencePieceOracle::SentencePieceOracle(const std::string& model_bytes) : impl_(std::make_unique<Impl>()) {
  check(impl_->processor.LoadFromSerializedProto(model_bytes));
}
SentencePieceOracle::~SentencePieceOracle() = default;

std::vector<uint32_t> SentencePieceOracle::encode(std::string_view text) const {
  std::vector<int> ids;
  check(impl_->processor.Encode(text, &ids));
  return {ids.begin(), ids.end()};
}

std::string SentencePieceOracle::decode(const std::vector<uint32_t>& ids) const {
  std::string text;
  check(impl_->processor.Decode(std::vector<int>(ids.begin(), ids.end()), &text));
  return text;
}

std::string train_bpe(const std::vector<std::string>& sentences, const std::string& options) {
  Sentences iterator(sentences);
  std::string model;
  check(sentencepiece::SentencePieceTrainer::Train(
      "--model_type=bpe --num_threads=1 --minloglevel=2 " + options, &iterator, &model));
  return model;
}

}  // namespace octet::router
