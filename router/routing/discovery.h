// Finds the leads of the pipelines and tells when they change: a list, names whose addresses are looked up
// again and again, a file that is read again and again. What cannot be read or looked up leaves what was
// known before.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/clock.h"

namespace octet::router {

// Event loop only, from start() to the loop's end; destroyed after the loop has stopped.
class Discovery {
 public:
  struct Sources {
    std::vector<std::string> entries;  // valid; see addresses.h
    std::string file;                  // empty: none
    Duration interval = std::chrono::seconds(5);
  };
  // addresses: "HOST:PORT" each, none twice, in a fixed order. Called when they are not what they were.
  using OnAddresses = std::function<void(const std::vector<std::string>& addresses)>;

  Discovery(boost::asio::io_context& loop, Sources sources, OnAddresses on_addresses);

  void start();

 private:
  void look();
  void read_file();
  void resolve(const std::string& name);
  // Tells it if there is something new.
  void update();
  std::vector<std::string> entries() const;

  const Sources sources_;
  const OnAddresses on_addresses_;
  boost::asio::steady_timer timer_;
  boost::asio::ip::tcp::resolver resolver_;
  std::vector<std::string> file_entries_;
  std::string file_error_;  // logged once
  struct Name {
    bool looking = false;
    std::string error;                   // logged once
    std::vector<std::string> addresses;  // at the last success
  };
  std::map<std::string, Name> names_;  // by entry
  std::vector<std::string> told_;
};

}  // namespace octet::router
