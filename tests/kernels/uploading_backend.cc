#include "tests/kernels/uploading_backend.h"

#include <initializer_list>
#include <span>
#include <vector>

namespace octet::kernels {
namespace {

// A host tensor's equal on the device while it lives.
class OnDevice {
 public:
  OnDevice(Backend& rank, Tensor host) : rank_(rank), host_(host) {
    buffer_ = rank.allocate(num_bytes());
    OCTET_CHECK(buffer_ != nullptr, "no device memory for ", num_bytes(), " bytes");
    if (num_bytes() > 0) rank.upload(buffer_->data(), host.data<void>(), num_bytes());
  }
  Tensor tensor() const {
    switch (host_.rank()) {
      case 0:
        return {};
      case 1:
        return Tensor(buffer_->data(), host_.dtype(), {host_.size(0)});
      case 2:
        return Tensor::matrix(buffer_->data(), host_.dtype(), host_.size(0), host_.size(1),
                              host_.row_stride());
      case 3:
        return Tensor(buffer_->data(), host_.dtype(), {host_.size(0), host_.size(1), host_.size(2)});
      default:
        return Tensor(buffer_->data(), host_.dtype(),
                      {host_.size(0), host_.size(1), host_.size(2), host_.size(3)});
    }
  }
  void download() const {
    if (num_bytes() > 0) rank_.download(host_.data<void>(), buffer_->data(), num_bytes());
  }

 private:
  int64_t num_bytes() const {
    if (host_.num_elements() == 0) return 0;
    int64_t elements = host_.num_elements();
    if (host_.rank() == 2) elements = (host_.size(0) - 1) * host_.row_stride() + host_.size(1);
    return elements * size_of(host_.dtype());
  }

  Backend& rank_;
  const Tensor host_;
  std::unique_ptr<Buffer> buffer_;
};

class HostBuffer final : public Buffer {
 public:
  explicit HostBuffer(int64_t num_bytes) : memory_(static_cast<size_t>(num_bytes)) {}
  void* data() override { return memory_.data(); }

 private:
  std::vector<char> memory_;
};

class UploadingBackend final : public Backend {
 public:
  explicit UploadingBackend(std::unique_ptr<Backend> rank) : rank_(std::move(rank)) {}

  const char* name() const override { return rank_->name(); }
  int rank() const override { return rank_->rank(); }
  int num_ranks() const override { return rank_->num_ranks(); }
  bool all_agree(bool ok) override { return rank_->all_agree(ok); }
  int64_t packed_bytes(WeightFormat format, int64_t num_columns, int64_t depth) const override {
    return rank_->packed_bytes(format, num_columns, depth);
  }
  std::unique_ptr<Buffer> allocate(int64_t num_bytes) override {
    return std::make_unique<HostBuffer>(num_bytes);
  }

 private:
  OnDevice on_device(Tensor host) { return OnDevice(*rank_, host); }

  void do_embedding(Tensor output, std::span<const int32_t> tokens, Tensor table,
                    int32_t first_token) override {
    const OnDevice out = on_device(output), t = on_device(table);
    rank_->embedding(out.tensor(), tokens, t.tensor(), first_token);
    out.download();
  }
  void do_layer_norm(Tensor output, Tensor input, Tensor weight, Tensor bias, float epsilon) override {
    const OnDevice out = on_device(output), in = on_device(input), w = on_device(weight), b = on_device(bias);
    rank_->layer_norm(out.tensor(), in.tensor(), w.tensor(), b.tensor(), epsilon);
    out.download();
  }
  void do_add_and_layer_norm(Tensor output, Tensor residual, Tensor input, Tensor weight, Tensor bias,
                             float epsilon) override {
    const OnDevice out = on_device(output), sum = on_device(residual), in = on_device(input);
    const OnDevice w = on_device(weight), b = on_device(bias);
    rank_->add_and_layer_norm(out.tensor(), sum.tensor(), in.tensor(), w.tensor(), b.tensor(), epsilon);
    out.download();
    sum.download();
  }
  void do_linear(Tensor output, Tensor input, Tensor weight, Epilogue epilogue) override {
    const OnDevice out = on_device(output), in = on_device(input), w = on_device(weight);
    rank_->linear(out.tensor(), in.tensor(), w.tensor(), epilogue);
    out.download();
  }
  std::optional<PackedWeight> do_pack(WeightFormat format, Tensor weight, Tensor scales) override {
    return rank_->pack(format, weight, scales);
  }
  void do_packed_linear(Tensor output, Tensor input, const PackedWeight& weight, Epilogue epilogue) override {
    const OnDevice out = on_device(output), in = on_device(input);
    rank_->linear(out.tensor(), in.tensor(), weight, epilogue);
    out.download();
  }
  void do_add(Tensor output, Tensor input) override {
    const OnDevice out = on_device(output), in = on_device(input);
    rank_->add(out.tensor(), in.tensor());
    out.download();
  }
  void do_rotary_and_kv_write(Tensor query, Tensor key, Tensor value, std::span<const int32_t> positions,
                              std::span<const int32_t> slots, const RotaryTable& table,
                              const KvLayer& kv) override {
    const OnDevice q = on_device(query), k = on_device(key), v = on_device(value);
    const OnDevice cosines = on_device(table.cosines), sines = on_device(table.sines);
    const OnDevice keys = on_device(kv.keys), values = on_device(kv.values);
    rank_->rotary_and_kv_write(q.tensor(), k.tensor(), v.tensor(), positions, slots,
                               {.cosines = cosines.tensor(), .sines = sines.tensor(), .storage = nullptr},
                               {.keys = keys.tensor(), .values = values.tensor()});
    for (const OnDevice* written : {&q, &keys, &values}) written->download();
  }
  void do_paged_attention(Tensor output, Tensor query, const KvLayer& kv,
                          std::span<const AttentionChunk> chunks) override {
    const OnDevice out = on_device(output), q = on_device(query);
    const OnDevice keys = on_device(kv.keys), values = on_device(kv.values);
    rank_->paged_attention(out.tensor(), q.tensor(), {.keys = keys.tensor(), .values = values.tensor()},
                           chunks);
    out.download();
  }
  void do_gather_rows(Tensor output, Tensor input, std::span<const int32_t> rows) override {
    const OnDevice out = on_device(output), in = on_device(input);
    rank_->gather_rows(out.tensor(), in.tensor(), rows);
    out.download();
  }
  void do_sample(Tensor logits, std::span<const SampleRow> rows, std::span<SampledToken> results) override {
    const OnDevice in = on_device(logits);
    rank_->sample(in.tensor(), rows, results);
    in.download();
  }
  void do_all_reduce(Tensor data) override {
    const OnDevice d = on_device(data);
    rank_->all_reduce(d.tensor());
    d.download();
  }
  void do_all_gather_columns(Tensor output, Tensor input) override {
    const OnDevice out = on_device(output), in = on_device(input);
    rank_->all_gather_columns(out.tensor(), in.tensor());
    out.download();
  }

  const std::unique_ptr<Backend> rank_;
};

}  // namespace

std::unique_ptr<Backend> make_uploading_backend(std::unique_ptr<Backend> rank) {
  return std::make_unique<UploadingBackend>(std::move(rank));
}

}  // namespace octet::kernels
