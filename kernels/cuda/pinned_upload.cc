#include "kernels/cuda/pinned_upload.h"

#include <algorithm>

#include "kernels/cuda/launch.h"

namespace octet::kernels::cuda {

PinnedUpload::~PinnedUpload() {
  for (const Piece& piece : pieces_) {
    if (piece.memory != nullptr) cudaFreeHost(piece.memory);
    if (piece.copied != nullptr) cudaEventDestroy(piece.copied);
  }
}

void PinnedUpload::put(void* device, int64_t num_records, int64_t record_bytes,
                       const std::function<void(char* to, int64_t first, int64_t count)>& write) {
  const int64_t records_of_piece = std::max<int64_t>(1, kPieceBytes / std::max<int64_t>(1, record_bytes));
  for (int64_t first = 0; first < num_records; first += records_of_piece) {
    const int64_t count = std::min(records_of_piece, num_records - first);
    const int64_t num_bytes = count * record_bytes;
    Piece& piece = next(num_bytes);
    write(piece.memory, first, count);
    check(cudaMemcpyAsync(static_cast<char*>(device) + first * record_bytes, piece.memory,
                          static_cast<size_t>(num_bytes), cudaMemcpyHostToDevice, stream_),
          "upload");
    check(cudaEventRecord(piece.copied, stream_), "cudaEventRecord");
  }
}

PinnedUpload::Piece& PinnedUpload::next(int64_t num_bytes) {
  last_ = (last_ + 1) % pieces_.size();
  Piece& piece = pieces_[last_];
  if (piece.copied == nullptr) {
    check(cudaEventCreateWithFlags(&piece.copied, cudaEventDisableTiming), "cudaEventCreate");
  }
  const auto is_copied = [&] { return is_ready(cudaEventQuery(piece.copied), "cudaEventQuery"); };
  wait_until(is_copied, timeout_, [] { return "an upload to a CUDA device has not finished"; });
  if (num_bytes > piece.num_bytes) {
    if (piece.memory != nullptr) check(cudaFreeHost(piece.memory), "cudaFreeHost");
    piece.num_bytes = std::max(num_bytes, kPieceBytes);
    void* memory = nullptr;
    check(cudaMallocHost(&memory, static_cast<size_t>(piece.num_bytes)), "pinned memory for uploads");
    piece.memory = static_cast<char*>(memory);
  }
  return piece;
}

}  // namespace octet::kernels::cuda
