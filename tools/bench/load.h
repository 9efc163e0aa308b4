// When requests are sent. Closed loop: a fixed number of clients, each sending its next request when its last
// one is answered. Open loop: requests arrive as a Poisson process, whatever the server does.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <functional>
#include <random>
#include <variant>
#include <vector>

#include "tools/bench/client.h"
#include "tools/bench/results.h"

namespace octet::bench {

struct ClosedLoop {
  uint32_t num_clients = 1;
};

struct OpenLoop {
  double requests_per_second = 1;
  uint64_t seed = 0;                // of the arrival times
  uint32_t max_in_flight = 10'000;  // past it a request fails as "not sent"
};

struct LoadPlan {
  std::variant<ClosedLoop, OpenLoop> loop;
  uint64_t num_requests = 1;  // prompts are taken in order, again and again
  Duration timeout = std::chrono::seconds(120);
};

// Planned times of a Poisson process, from its seed.
class Arrivals {
 public:
  Arrivals(double per_second, uint64_t seed, Time start);
  Time next();

 private:
  std::mt19937_64 random_;
  std::exponential_distribution<double> gap_seconds_;
  Time start_;
  double elapsed_seconds_ = 0;
};

class Load {
 public:
  // on_finished runs after each finished request with their number. All references outlive the load.
  Load(boost::asio::io_context& loop, Client& client, const std::vector<Prompt>& prompts,
       const LoadPlan& plan, Results& results, std::function<void(uint64_t)> on_finished);

  // Sends the first requests; the event loop runs out of work when the last one is answered.
  void start();

 private:
  void start_open_loop(const OpenLoop& open);
  void send_due();
  void send(Time intended);

  Client& client_;
  const std::vector<Prompt>& prompts_;
  const LoadPlan plan_;
  Results& results_;
  std::function<void(uint64_t)> on_finished_;
  boost::asio::steady_timer timer_;
  std::optional<Arrivals> arrivals_;
  Time next_arrival_;
  uint64_t num_sent_ = 0;
  uint32_t num_in_flight_ = 0;
};

}  // namespace octet::bench
