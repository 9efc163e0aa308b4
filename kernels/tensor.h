// A view of memory with a type and a shape. Owns nothing; see Buffer in backend.h.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>

#include "base/check.h"

namespace octet::kernels {

enum class DType { kFloat32, kBFloat16, kInt32, kFloat8E4M3 };

constexpr int64_t size_of(DType type) {
  if (type == DType::kFloat8E4M3) return 1;
  return type == DType::kBFloat16 ? 2 : 4;
}

// Row-major. Up to four dimensions; all are packed, except that consecutive rows of a two-dimensional tensor
// may lie row_stride elements apart (a column slice of a larger matrix).
class Tensor {
 public:
  Tensor() = default;
  Tensor(void* data, DType dtype, std::initializer_list<int64_t> sizes) : data_(data), dtype_(dtype) {
    OCTET_CHECK(sizes.size() >= 1 && sizes.size() <= 4, "tensor of ", sizes.size(), " dimensions");
    for (const int64_t size : sizes) {
      OCTET_CHECK(size >= 0, "negative size ", size);
      sizes_[static_cast<size_t>(rank_++)] = size;
    }
    row_stride_ = sizes_[static_cast<size_t>(rank_ - 1)];
  }
  static Tensor matrix(void* data, DType dtype, int64_t rows, int64_t columns, int64_t row_stride) {
    Tensor t(data, dtype, {rows, columns});
    OCTET_CHECK(row_stride >= columns, "row stride ", row_stride, " below ", columns, " columns");
    t.row_stride_ = row_stride;
    return t;
  }

  DType dtype() const { return dtype_; }
  int rank() const { return rank_; }
  int64_t size(int dimension) const { return sizes_[static_cast<size_t>(dimension)]; }
  int64_t row_stride() const { return row_stride_; }
  bool packed() const { return row_stride_ == sizes_[static_cast<size_t>(rank_ - 1)]; }
  int64_t num_elements() const {
    int64_t n = rank_ == 0 ? 0 : 1;
    for (int d = 0; d < rank_; ++d) n *= size(d);
    return n;
  }

  template <typename T>
  T* data() const {
    return static_cast<T*>(data_);
  }

  // Rows [first, first + count) of the first dimension.
  Tensor rows(int64_t first, int64_t count) const {
    OCTET_CHECK(first >= 0 && count >= 0 && first + count <= size(0), "rows ", first, "+", count, " of ",
                size(0));
    Tensor t = *this;
    int64_t stride = rank_ == 1 ? 1 : row_stride_;
    for (int d = 1; d + 1 < rank_; ++d) stride *= size(d);
    t.data_ = static_cast<char*>(data_) + first * stride * size_of(dtype_);
    t.sizes_[0] = count;
    if (rank_ == 1) t.row_stride_ = count;
    return t;
  }

 private:
  void* data_ = nullptr;
  DType dtype_ = DType::kFloat32;
  int rank_ = 0;
  std::array<int64_t, 4> sizes_{};
  int64_t row_stride_ = 0;
};

}  // namespace octet::kernels
