// A client that sends exactly the bytes it is given, over a real socket on the loopback.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace octet::router {

struct RawAnswer {
  int status = 0;
  std::string head;                              // status line and header fields
  std::string body;                              // chunks joined
  bool has_header(std::string_view line) const;  // "Connection: close"
};

// Every wait ends after ten seconds, with what has come until then.
class RawClient {
 public:
  // receive_buffer_bytes: of the socket; 0 is the system's default.
  explicit RawClient(int port, int receive_buffer_bytes = 0);
  ~RawClient();
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  // False when the server has closed the connection.
  bool send(std::string_view bytes);
  void close_sending_half();
  // Closes so that the server sees a reset.
  void reset();

  // Reads one answer, by Content-Length, by chunks or up to the end of the connection. Without a body after
  // HEAD and for 1xx and 204. status 0: none came.
  RawAnswer read_answer(bool to_head = false);
  std::string read_until(std::string_view end);
  // All bytes up to the end of the connection.
  std::string read_to_end();
  // Whether the connection ends with nothing more to read.
  bool is_closed() { return read_to_end().empty(); }

 private:
  bool read_more();
  std::string take(size_t num_bytes);
  std::string read_chunks();

  int fd_ = -1;
  std::string received_;
};

}  // namespace octet::router
