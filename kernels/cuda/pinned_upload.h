// Host memory on its way to a device. It goes in pieces through pinned memory, from which the device copies
// at the full rate of its bus: while one piece is copied, the next is written.
#pragma once

#include <cuda_runtime.h>

#include <array>
#include <cstdint>
#include <functional>

#include "kernels/cuda/deadline.h"

namespace octet::kernels::cuda {

class PinnedUpload {
 public:
  static constexpr int64_t kPieceBytes = 8 << 20;

  // Of the stream's device, which is the current one. timeout: for the device to copy a piece.
  PinnedUpload(cudaStream_t stream, Timeout timeout) : stream_(stream), timeout_(timeout) {}
  // When the stream has copied everything.
  ~PinnedUpload();
  PinnedUpload(const PinnedUpload&) = delete;
  PinnedUpload& operator=(const PinnedUpload&) = delete;

  // Puts copies to device, [num_records, record_bytes], on the stream. write(to, first, count) is called for
  // one piece after the other and writes records first to first + count.
  void put(void* device, int64_t num_records, int64_t record_bytes,
           const std::function<void(char* to, int64_t first, int64_t count)>& write);

 private:
  struct Piece {
    char* memory = nullptr;
    int64_t num_bytes = 0;
    cudaEvent_t copied = nullptr;
  };

  // A piece that is no longer copied, of at least so many bytes.
  Piece& next(int64_t num_bytes);

  const cudaStream_t stream_;
  const Timeout timeout_;
  std::array<Piece, 2> pieces_;
  size_t last_ = 0;
};

}  // namespace octet::kernels::cuda
