// The virtual network: connections between simulated processes. In one direction of one connection messages
// arrive in the order in which they were sent; between connections there is no order. Machines can be cut off
// from each other, in one direction or both: messages wait, as TCP sends them again, until the cut is mended
// or an end gives the connection up.
#pragma once

#include <google/protobuf/message.h>

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/simulation/runtime.h"

namespace octet::simulation {

using MessagePtr = std::shared_ptr<const google::protobuf::Message>;

// What an end of a connection hears, on fibers of its process, one call at a time.
struct EndEvents {
  std::function<void(const google::protobuf::Message&)> on_message;
  std::function<void(const std::string& reason)> on_end;  // the last call; not after close()
};

class Connection;

// One end of a connection.
class End {
 public:
  End(std::shared_ptr<Connection> connection, int side) : connection_(std::move(connection)), side_(side) {}
  ~End() { close(); }

  void hear(EndEvents events);
  void send(MessagePtr message);
  // No event comes any more. The other end hears of it after what is on its way, or loses some of that.
  void close();
  // Messages that the other end has not taken yet.
  size_t num_on_the_way() const;
  // Whether the other end still listens.
  bool is_heard() const;

 private:
  const std::shared_ptr<Connection> connection_;
  const int side_;
};

class Network {
 public:
  struct Weather {
    Duration min_delay = std::chrono::microseconds(50);
    Duration max_delay = std::chrono::milliseconds(1);
    double spike_probability = 0;  // of a message to take up to max_spike
    Duration max_spike = std::chrono::milliseconds(500);
    double slow_connections = 0;  // the part of connections that are slower than others
    Duration max_slowness = std::chrono::milliseconds(300);
    // An end that hears nothing from a machine that is cut off or a process that is frozen gives up.
    Duration min_keepalive = std::chrono::seconds(10);
    Duration max_keepalive = std::chrono::seconds(15);
  };
  Network(Runtime& runtime, const Weather& weather) : runtime_(runtime), weather_(weather) {}

  using Acceptor = std::function<void(const std::string& service, std::shared_ptr<End>)>;
  // The running process takes connections at this address. It has it until its end.
  void listen(const std::string& address, Acceptor acceptor);
  // Connects the running process to a service at an address; never waits. on_end comes when there is nobody.
  std::shared_ptr<End> connect(const std::string& address, const std::string& service, EndEvents events);

  void cut(int from, int to);
  void mend(int from, int to);
  void mend_all();
  // Breaks some connection of the machine, chosen at random.
  void break_one(int machine);
  // The process is no more. quietly: its machine with it, so that nobody is told.
  void end(const ProcessPtr& process, bool quietly);
  // Ends give up waiting for a process that froze now.
  void froze(const ProcessPtr& process);

  // Whether a process that is alive has a connection to one that is no more, and was not told yet.
  bool any_half_open();

 private:
  friend class Connection;
  struct Listener {
    ProcessPtr process;
    Acceptor acceptor;
  };
  bool is_cut(int from, int to) const { return cuts_.contains({from, to}); }
  Duration delay();
  void give_up_later(const std::shared_ptr<Connection>& connection, std::function<bool()> still);
  std::function<bool()> while_cut(int from, int to) const;
  static std::function<bool()> while_frozen(const ProcessPtr& process);
  std::vector<std::shared_ptr<Connection>> open();
  void establish(const std::shared_ptr<Connection>& connection, const std::string& address,
                 const std::string& service);

  Runtime& runtime_;
  const Weather weather_;
  std::map<std::string, Listener> listeners_;
  std::map<std::pair<int, int>, uint64_t> cuts_;  // with a number, so that each is told from the next
  std::list<std::weak_ptr<Connection>> connections_;
  uint64_t next_id_ = 1;
  uint64_t num_cuts_ = 0;
};

}  // namespace octet::simulation
