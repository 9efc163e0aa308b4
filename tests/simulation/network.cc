#include "tests/simulation/network.h"

#include <algorithm>
#include <deque>

namespace octet::simulation {

// Two directions; direction d goes from side d to side 1 - d.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Network& network, uint64_t id, bool has_keepalive)
      : network_(network), id_(id), has_keepalive_(has_keepalive) {}

  struct Side {
    ProcessPtr process;  // null before it is there
    EndEvents events;
    bool hears = false;   // it has events to call
    bool closed = false;  // by itself
    bool ended = false;   // it was told of the end, or has closed
  };
  struct Item {
    MessagePtr message;  // null: the end
    std::string reason;
  };
  struct Direction {
    std::deque<Item> items;
    bool pumping = false;  // the first item is on its way or being handled
    bool blocked = false;  // by a cut, or because the receiver is not ready
  };

  Side sides[2];
  Direction directions[2];

  Duration extra_delay{};

  uint64_t id() const { return id_; }
  bool has_keepalive() const { return has_keepalive_; }
  bool open() const { return !(sides[0].ended && sides[1].ended); }
  int machine(int side) const { return sides[side].process ? sides[side].process->machine : -1; }

  void push(int from, Item item) {
    Direction& direction = directions[from];
    if (sides[1 - from].ended) return;
    direction.items.push_back(std::move(item));
    pump(from);
  }

  // Whoever is alive at a side hears of the end once, whatever waits for it.
  void break_side(int side, const std::string& reason) {
    if (sides[side].ended) return;
    Direction& incoming = directions[1 - side];
    incoming.items.clear();
    incoming.items.push_back({nullptr, reason});
    incoming.blocked = false;
    if (!incoming.pumping) deliver_later(1 - side);
  }

  void pump(int from) {
    Direction& direction = directions[from];
    if (direction.pumping || direction.items.empty()) return;
    const Side& to = sides[1 - from];
    direction.blocked = !to.process || !to.hears || network_.is_cut(machine(from), machine(1 - from));
    if (!direction.blocked) deliver_later(from);
  }

 private:
  void deliver_later(int from) {
    Direction& direction = directions[from];
    direction.pumping = true;
    network_.runtime_.after(network_.delay() + extra_delay, sides[1 - from].process,
                            [self = shared_from_this(), from] { self->deliver(from); });
  }

  void deliver(int from) {
    Direction& direction = directions[from];
    Side& to = sides[1 - from];
    direction.pumping = false;
    if (to.ended || direction.items.empty()) return;
    const bool is_end = direction.items.front().message == nullptr;
    if (!is_end && network_.is_cut(machine(from), machine(1 - from))) {
      direction.blocked = true;
      return;
    }
    const Item item = std::move(direction.items.front());
    direction.items.pop_front();
    network_.runtime_.note(id_ * 2 + static_cast<uint64_t>(from));
    if (is_end) {
      to.ended = true;
      const EndEvents events = std::exchange(to.events, {});
      if (events.on_end) events.on_end(item.reason);
      return;
    }
    direction.pumping = true;  // the next one waits until this one is handled
    const auto on_message = to.events.on_message;
    if (on_message) on_message(*item.message);
    direction.pumping = false;
    pump(from);
  }

  Network& network_;
  const uint64_t id_;
  const bool has_keepalive_;
  friend class Network;
};

void End::hear(EndEvents events) {
  Connection::Side& side = connection_->sides[side_];
  if (side.ended) return;
  side.events = std::move(events);
  side.hears = true;
  connection_->pump(1 - side_);
}

void End::send(MessagePtr message) {
  const Connection::Side& side = connection_->sides[side_];
  if (side.ended || !side.process->alive) return;
  connection_->push(side_, {std::move(message), ""});
}

void End::close() {
  Connection::Side& side = connection_->sides[side_];
  if (side.closed) return;
  side.closed = true;
  side.events = {};
  if (std::exchange(side.ended, true) || !side.process || !side.process->alive) return;
  auto& items = connection_->directions[side_].items;
  Runtime& runtime = *Runtime::current();
  while (!items.empty() && runtime.chance(0.3)) items.pop_back();
  connection_->push(side_, {nullptr, "the peer has ended the stream"});
}

size_t End::num_on_the_way() const {
  return connection_->directions[side_].items.size();
}

bool End::is_heard() const {
  const Connection::Side& other = connection_->sides[1 - side_];
  return !other.ended && other.process && other.process->alive;
}

Duration Network::delay() {
  Duration delay = runtime_.between(weather_.min_delay, weather_.max_delay);
  if (runtime_.chance(weather_.spike_probability)) delay += runtime_.between(Duration(0), weather_.max_spike);
  return delay;
}

void Network::listen(const std::string& address, Acceptor acceptor) {
  listeners_[address] = {runtime_.process(), std::move(acceptor)};
}

std::shared_ptr<End> Network::connect(const std::string& address, const std::string& service,
                                      EndEvents events) {
  const auto connection = std::make_shared<Connection>(*this, next_id_++, service != "link");
  connections_.push_back(connection);
  if (runtime_.chance(weather_.slow_connections)) {
    connection->extra_delay = runtime_.between(Duration(0), weather_.max_slowness);
  }
  connection->sides[0].process = runtime_.process();
  auto end = std::make_shared<End>(connection, 0);
  end->hear(std::move(events));
  runtime_.after(delay(), nullptr,
                 [this, connection, address, service] { establish(connection, address, service); });
  return end;
}

void Network::establish(const std::shared_ptr<Connection>& connection, const std::string& address,
                        const std::string& service) {
  const auto found = listeners_.find(address);
  if (connection->sides[0].ended) return;
  if (found == listeners_.end() || !found->second.process->alive) {
    return connection->break_side(0, "connection refused");
  }
  const Listener& listener = found->second;
  connection->sides[1].process = listener.process;
  for (const int side : {0, 1}) {
    const int from = connection->machine(side);
    const int to = connection->machine(1 - side);
    if (is_cut(from, to)) give_up_later(connection, while_cut(from, to));
  }
  if (listener.process->frozen) give_up_later(connection, while_frozen(listener.process));
  runtime_.after(Duration(0), listener.process, [connection, service, acceptor = listener.acceptor] {
    if (connection->sides[1].ended) return;
    acceptor(service, std::make_shared<End>(connection, 1));
  });
}

void Network::cut(int from, int to) {
  if (!cuts_.try_emplace({from, to}, ++num_cuts_).second) return;
  for (const auto& connection : open()) {
    for (const int side : {0, 1}) {
      if (connection->machine(side) != from || connection->machine(1 - side) != to) continue;
      give_up_later(connection, while_cut(from, to));
    }
  }
}

void Network::mend(int from, int to) {
  cuts_.erase({from, to});
  for (const auto& connection : open()) {
    for (const int side : {0, 1}) {
      if (connection->directions[side].blocked) connection->pump(side);
    }
  }
}

void Network::mend_all() {
  while (!cuts_.empty()) {
    const auto [from, to] = cuts_.begin()->first;
    mend(from, to);
  }
}

// Each end of its own accord, unless all is well by then.
void Network::give_up_later(const std::shared_ptr<Connection>& connection, std::function<bool()> still) {
  if (!connection->has_keepalive()) return;
  for (const int side : {0, 1}) {
    runtime_.after(runtime_.between(weather_.min_keepalive, weather_.max_keepalive), nullptr,
                   [connection, side, still] {
                     if (still()) connection->break_side(side, "keepalive timed out");
                   });
  }
}

std::function<bool()> Network::while_cut(int from, int to) const {
  return [this, from, to, number = cuts_.at({from, to})] {
    const auto found = cuts_.find({from, to});
    return found != cuts_.end() && found->second == number;
  };
}

std::function<bool()> Network::while_frozen(const ProcessPtr& process) {
  return
      [process, number = process->num_freezes] { return process->frozen && process->num_freezes == number; };
}

void Network::break_one(int machine) {
  auto all = open();
  std::erase_if(all, [machine](const auto& connection) {
    return !connection->sides[1].process ||
           (connection->machine(0) != machine && connection->machine(1) != machine);
  });
  if (all.empty()) return;
  const auto& connection = all[runtime_.between(0, all.size() - 1)];
  for (const int side : {0, 1}) connection->break_side(side, "connection reset");
}

void Network::end(const ProcessPtr& process, bool quietly) {
  std::erase_if(listeners_, [&](const auto& entry) { return entry.second.process == process; });
  for (const auto& connection : open()) {
    for (const int side : {0, 1}) {
      if (connection->sides[side].process != process) continue;
      connection->sides[side].ended = true;
      connection->sides[side].events = {};
      if (!quietly && !is_cut(connection->machine(side), connection->machine(1 - side))) {
        connection->break_side(1 - side, "connection reset");
      } else if (connection->has_keepalive()) {
        give_up_later(connection, [] { return true; });
      }
    }
  }
}

bool Network::any_half_open() {
  const auto all = open();
  return std::any_of(all.begin(), all.end(), [](const auto& connection) {
    const auto is = [&](int side, bool alive) {
      const ProcessPtr& process = connection->sides[side].process;
      return process && process->alive == alive && (!alive || !connection->sides[side].ended);
    };
    return connection->has_keepalive() && ((is(0, true) && is(1, false)) || (is(1, true) && is(0, false)));
  });
}

void Network::froze(const ProcessPtr& process) {
  for (const auto& connection : open()) {
    if (connection->sides[0].process != process && connection->sides[1].process != process) continue;
    give_up_later(connection, while_frozen(process));
  }
}

std::vector<std::shared_ptr<Connection>> Network::open() {
  std::vector<std::shared_ptr<Connection>> result;
  std::erase_if(connections_, [&](const std::weak_ptr<Connection>& weak) {
    const auto connection = weak.lock();
    if (!connection || !connection->open()) return true;
    result.push_back(connection);
    return false;
  });
  return result;
}

}  // namespace octet::simulation
