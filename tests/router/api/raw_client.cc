#include "tests/router/api/raw_client.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

namespace octet::router {
namespace {

constexpr int kTimeoutSeconds = 10;

std::string field(const std::string& head, const std::string& name) {
  const size_t begin = head.find("\r\n" + name + ": ");
  if (begin == std::string::npos) return "";
  const size_t value = begin + name.size() + 4;
  return head.substr(value, head.find("\r\n", value) - value);
}

}  // namespace

bool RawAnswer::has_header(std::string_view line) const {
  return head.find("\r\n" + std::string(line) + "\r\n") != std::string::npos;
}

RawClient::RawClient(int port, int receive_buffer_bytes) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
  if (receive_buffer_bytes > 0) {
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof(receive_buffer_bytes));
  }
  const timeval timeout{kTimeoutSeconds, 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
}

RawClient::~RawClient() {
  if (fd_ >= 0) ::close(fd_);
}

bool RawClient::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t num_sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (num_sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(num_sent));
  }
  return true;
}

void RawClient::close_sending_half() {
  ::shutdown(fd_, SHUT_WR);
}

void RawClient::reset() {
  const linger at_once{1, 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  ::close(fd_);
  fd_ = -1;
}

bool RawClient::read_more() {
  std::array<char, 64 << 10> buffer;
  const ssize_t num_read = ::recv(fd_, buffer.data(), buffer.size(), 0);
  if (num_read <= 0) return false;
  received_.append(buffer.data(), static_cast<size_t>(num_read));
  return true;
}

std::string RawClient::take(size_t num_bytes) {
  while (received_.size() < num_bytes && read_more()) {
  }
  std::string taken = received_.substr(0, num_bytes);
  received_.erase(0, num_bytes);
  return taken;
}

std::string RawClient::read_until(std::string_view end) {
  size_t found = received_.find(end);
  while (found == std::string::npos && read_more()) found = received_.find(end);
  if (found == std::string::npos) return "";
  return take(found + end.size());
}

std::string RawClient::read_to_end() {
  while (read_more()) {
  }
  return take(received_.size());
}

std::string RawClient::read_chunks() {
  std::string body;
  for (;;) {
    const std::string size_line = read_until("\r\n");
    const size_t size = std::strtoul(size_line.c_str(), nullptr, 16);
    const std::string chunk = take(size + 2);
    if (size == 0 || chunk.size() < size + 2) return body;
    body += chunk.substr(0, size);
  }
}

RawAnswer RawClient::read_answer(bool to_head) {
  RawAnswer answer;
  answer.head = read_until("\r\n\r\n");
  if (answer.head.size() < 12) return answer;
  answer.status = std::atoi(answer.head.c_str() + 9);
  if (to_head || answer.status < 200 || answer.status == 204) return answer;
  const std::string length = field(answer.head, "Content-Length");
  if (!length.empty()) {
    answer.body = take(std::strtoul(length.c_str(), nullptr, 10));
  } else if (field(answer.head, "Transfer-Encoding") == "chunked") {
    answer.body = read_chunks();
  } else {
    answer.body = read_to_end();
  }
  return answer;
}

}  // namespace octet::router
