// A port of this machine at which nobody answers, and that nobody else can take: bound, and not listening.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <string>

namespace octet::bench {

class UnansweredPort {
 public:
  UnansweredPort() : socket_(loop_, {boost::asio::ip::make_address("127.0.0.1"), 0}) {}
  std::string text() const { return std::to_string(socket_.local_endpoint().port()); }

 private:
  boost::asio::io_context loop_;
  boost::asio::ip::tcp::socket socket_;
};

}  // namespace octet::bench
