#include "worker/link/tcp_link.h"

#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "worker/link/frame.h"

namespace octet::worker {

namespace asio = boost::asio;

absl::Status TcpLink::send(uint64_t step, std::span<const std::byte> bytes, Time deadline) {
  if (!failure_.ok()) return failure_;
  const auto header = encode(FrameHeader{epoch_, step, bytes.size(), checksum(bytes)});
  const std::array<asio::const_buffer, 2> buffers = {asio::buffer(header),
                                                     asio::const_buffer(bytes.data(), bytes.size())};
  return finish(step, connection_->write(buffers, deadline));
}

absl::Status TcpLink::receive(uint64_t step, std::span<std::byte> bytes, Time deadline) {
  if (!failure_.ok()) return failure_;
  return finish(step, receive_frame(step, bytes, deadline));
}

absl::Status TcpLink::check() {
  return failure_.ok() ? connection_->check() : failure_;
}

absl::Status TcpLink::receive_frame(uint64_t step, std::span<std::byte> bytes, Time deadline) {
  std::array<std::byte, kFrameHeaderBytes> header_bytes{};
  if (absl::Status status = connection_->read(header_bytes, deadline); !status.ok()) return status;
  const std::optional<FrameHeader> header = decode_frame_header(header_bytes);
  if (!header) return absl::DataLossError("the peer sent bytes that are no frame header");
  if (header->epoch != epoch_ || header->step != step || header->num_bytes != bytes.size()) {
    return absl::DataLossError(absl::StrCat("the peer sent step ", header->step, " of epoch ", header->epoch,
                                            ", ", header->num_bytes, " bytes; expected step ", step,
                                            " of epoch ", epoch_, ", ", bytes.size(), " bytes"));
  }
  if (absl::Status status = connection_->read(bytes, deadline); !status.ok()) return status;
  if (checksum(bytes) != header->checksum)
    return absl::DataLossError("the activations do not match their checksum");
  return absl::OkStatus();
}

absl::Status TcpLink::finish(uint64_t step, absl::Status status) {
  if (status.ok()) return status;
  failure_ = absl::Status(status.code(), absl::StrCat("link of rank ", rank_, ", step ", step, ": ",
                                                      std::string(status.message())));
  return failure_;
}

}  // namespace octet::worker
