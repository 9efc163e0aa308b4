#include "tools/bench/load.h"

#include <algorithm>

namespace octet::bench {

Arrivals::Arrivals(double per_second, uint64_t seed, Time start)
    : random_(seed), gap_seconds_(per_second), start_(start) {}

Time Arrivals::next() {
  elapsed_seconds_ += gap_seconds_(random_);
  return start_ + std::chrono::duration_cast<Duration>(std::chrono::duration<double>(elapsed_seconds_));
}

Load::Load(boost::asio::io_context& loop, Client& client, const std::vector<Prompt>& prompts,
           const LoadPlan& plan, Results& results, std::function<void(uint64_t)> on_finished)
    : client_(client),
      prompts_(prompts),
      plan_(plan),
      results_(results),
      on_finished_(std::move(on_finished)),
      timer_(loop) {}

void Load::start() {
  if (const auto* open = std::get_if<OpenLoop>(&plan_.loop)) {
    start_open_loop(*open);
    return;
  }
  const uint64_t num_clients = std::get<ClosedLoop>(plan_.loop).num_clients;
  for (uint64_t i = 0; i < std::min(num_clients, plan_.num_requests); ++i) send(now());
}

void Load::start_open_loop(const OpenLoop& open) {
  arrivals_.emplace(open.requests_per_second, open.seed, now());
  next_arrival_ = arrivals_->next();
  send_due();
}

// Sends what should have arrived by now, each with the time at which it should have, and waits for the next
// arrival.
void Load::send_due() {
  const uint32_t max_in_flight = std::get<OpenLoop>(plan_.loop).max_in_flight;
  while (num_sent_ < plan_.num_requests && next_arrival_ <= now()) {
    if (num_in_flight_ < max_in_flight) {
      send(next_arrival_);
    } else {
      Answer answer;
      answer.failure = Failure{"not sent", "too many requests in flight"};
      answer.end = now();
      results_.add(prompts_[num_sent_++ % prompts_.size()], next_arrival_, answer);
      on_finished_(results_.num_requests);
    }
    next_arrival_ = arrivals_->next();
  }
  if (num_sent_ == plan_.num_requests) return;
  timer_.expires_at(next_arrival_);
  timer_.async_wait([this](boost::system::error_code ec) {
    if (!ec) send_due();
  });
}

void Load::send(Time intended) {
  const Prompt& prompt = prompts_[num_sent_++ % prompts_.size()];
  ++num_in_flight_;
  client_.send(prompt, plan_.timeout, [this, &prompt, intended](const Answer& answer) {
    --num_in_flight_;
    results_.add(prompt, intended, answer);
    on_finished_(results_.num_requests);
    if (!arrivals_ && num_sent_ < plan_.num_requests) send(now());
  });
}

}  // namespace octet::bench
