// A million random operations beside a model of what waits, and fairness under random loads.
#include <gtest/gtest.h>

#include <array>
#include <deque>
#include <random>
#include <unordered_map>

#include "base/check.h"
#include "router/queue/request_queue.h"

namespace octet::router {
namespace {

using Refusal = RequestQueue::Refusal;

constexpr std::array<double, 5> kWeights = {1, 1, 2, 0.5, 10};

std::string tenant_name(size_t tenant) {
  return std::string(1, static_cast<char>('a' + tenant));
}

class Model {
 public:
  explicit Model(uint64_t seed) : random_(seed), queue_(limits_) {}

  void step() {
    switch (below(16)) {
      case 0:
        advance();
        break;
      case 1:
        remove();
        break;
      case 2:
        charge();
        break;
      case 3:
      case 4:
      case 5:
      case 6:
      case 7:
        pop();
        break;
      default:
        push();
    }
    check();
  }
  // All that still waits comes out, each once.
  void drain() {
    while (!queue_.empty()) pop();
    OCTET_CHECK(waiting_.empty(), waiting_.size(), " are lost");
    OCTET_CHECK(num_pushed_ == num_ended_, num_pushed_, " pushed and ", num_ended_, " ended");
    OCTET_CHECK(queue_.num_tokens() == 0 && queue_.next_deadline() == kNoDeadline, "something is left");
  }
  std::array<uint64_t, 5> num_refused{};
  uint64_t num_displaced = 0;
  uint64_t num_expired = 0;

 private:
  struct Waiting {
    QueuedRequest request;
    uint64_t arrival = 0;
  };
  using InTenant = std::set<std::tuple<Time, uint64_t, QueuedId>>;  // deadline, arrival, id

  uint64_t below(uint64_t n) { return random_() % n; }

  void push() {
    QueuedRequest request;
    request.id = next_id_++;
    const size_t tenant = below(kWeights.size());
    request.tenant = tenant_name(tenant);
    request.weight = kWeights[tenant];
    request.priority = static_cast<int32_t>(below(3)) - 1;
    if (below(4) > 0)
      request.deadline = now_ + std::chrono::milliseconds(1 + below(below(2) == 0 ? 2'000 : 30'000));
    request.num_tokens = 1 + below(200);
    const RequestQueue::Push result = queue_.push(request, now_);
    ++num_refused[static_cast<size_t>(result.refusal)];
    if (result.refusal == Refusal::kNone) {
      ++num_pushed_;
      for (const QueuedId id : result.displaced) {
        OCTET_CHECK(waiting_.at(id).request.priority >= request.priority, "a higher class made room");
        forget(id);
        ++num_displaced;
      }
      waiting_.emplace(request.id, Waiting{request, num_arrivals_});
      tenants_[{request.priority, request.tenant}].emplace(request.deadline, num_arrivals_++, request.id);
      num_tokens_ += request.num_tokens;
      return;
    }
    OCTET_CHECK(result.displaced.empty(), "refused, and others displaced");
    const bool requests_full = waiting_.size() == limits_.max_requests;
    const bool tokens_full = num_tokens_ + request.num_tokens > limits_.max_tokens;
    OCTET_CHECK(result.refusal != Refusal::kRequests || requests_full || tokens_full, "refused without need");
    OCTET_CHECK(result.refusal != Refusal::kTokens || tokens_full || requests_full, "refused without need");
    OCTET_CHECK(result.refusal != Refusal::kWait || *result.wait > limits_.max_wait,
                "it would not wait long");
    OCTET_CHECK(result.refusal != Refusal::kDeadline || *result.wait > request.deadline - now_,
                "it could have made its deadline");
  }

  void pop() {
    if (queue_.empty()) return;
    const QueuedId id = queue_.front().value();
    const QueuedRequest& request = waiting_.at(id).request;
    OCTET_CHECK(tenants_.begin()->first.first == request.priority, "a higher class waits");
    const InTenant& own = tenants_.at({request.priority, request.tenant});
    OCTET_CHECK(std::get<2>(*own.begin()) == id, "an earlier deadline of its tenant waits");
    dispatched_.push_back(request);
    if (dispatched_.size() > 32) dispatched_.pop_front();
    queue_.pop(now_);
    forget(id);
  }

  void remove() {
    const QueuedId id = below(next_id_ + 1);
    const bool waits = waiting_.contains(id);
    OCTET_CHECK(queue_.remove(id, now_) == waits, "removal of ", id);
    if (waits) forget(id);
  }

  void charge() {
    if (dispatched_.empty()) return;
    const QueuedRequest& request = dispatched_[below(dispatched_.size())];
    queue_.charge(request.tenant, request.priority, 1 + below(50));
  }

  void advance() {
    now_ += std::chrono::milliseconds(below(200));
    Time last;
    for (const QueuedId id : queue_.expire(now_)) {
      const Time deadline = waiting_.at(id).request.deadline;
      OCTET_CHECK(deadline <= now_ && deadline >= last, "expired too early, or out of order");
      last = deadline;
      forget(id);
      ++num_expired;
    }
    OCTET_CHECK(queue_.next_deadline() > now_, "an expired request waits on");
  }

  void forget(QueuedId id) {
    const auto waiting = waiting_.extract(id).mapped();
    const auto own = tenants_.find({waiting.request.priority, waiting.request.tenant});
    own->second.erase({waiting.request.deadline, waiting.arrival, id});
    if (own->second.empty()) tenants_.erase(own);
    num_tokens_ -= waiting.request.num_tokens;
    ++num_ended_;
  }

  void check() const {
    OCTET_CHECK(queue_.num_requests() == waiting_.size(), queue_.num_requests(), " and ", waiting_.size());
    OCTET_CHECK(queue_.num_tokens() == num_tokens_, queue_.num_tokens(), " and ", num_tokens_);
    OCTET_CHECK(waiting_.size() <= limits_.max_requests && num_tokens_ <= limits_.max_tokens, "bounds");
  }

  const QueueLimits limits_{
      .max_requests = 100, .max_tokens = 10'500, .max_wait = std::chrono::milliseconds(2500)};
  std::mt19937_64 random_;
  Time now_ = Time(std::chrono::hours(1));
  RequestQueue queue_;
  QueuedId next_id_ = 0;
  std::unordered_map<QueuedId, Waiting> waiting_;
  std::map<std::pair<int32_t, std::string>, InTenant> tenants_;
  std::deque<QueuedRequest> dispatched_;
  uint64_t num_arrivals_ = 0;
  uint64_t num_tokens_ = 0;
  uint64_t num_pushed_ = 0;
  uint64_t num_ended_ = 0;
};

TEST(RequestQueueRandomTest, AMillionOperationsKeepBoundsOrderAndRequests) {
  Model model(7);
  for (int i = 0; i < 1'000'000; ++i) model.step();
  model.drain();
  // Each path was taken.
  for (const uint64_t num : model.num_refused) EXPECT_GT(num, 100U);
  EXPECT_GT(model.num_displaced, 100U);
  EXPECT_GT(model.num_expired, 100U);
}

// The most that two tenants' served tokens, each over its weight, may differ by over any time in which both
// wait: twice (P + O) / min(weight), see fair_class.h.
TEST(RequestQueueRandomTest, BackloggedTenantsAreServedByTheirWeights) {
  constexpr uint64_t kMaxPrompt = 300;
  constexpr uint64_t kMaxOutput = 200;
  constexpr size_t kInFlight = 16;
  constexpr size_t kBacklog = 5;
  constexpr double kBound = 2.0 * (kMaxPrompt + kInFlight * kMaxOutput) / 0.5;
  struct Running {
    size_t tenant = 0;
    uint64_t num_tokens_left = 0;
  };
  std::mt19937_64 random(3);
  RequestQueue queue(QueueLimits{});
  const Time now(std::chrono::hours(1));
  std::unordered_map<QueuedId, size_t> tenant_of;
  std::array<size_t, kWeights.size()> num_waiting{};
  std::array<double, kWeights.size()> served{};  // over the weight
  std::array<double, kWeights.size()> served_before{};
  std::vector<Running> running;
  QueuedId next_id = 0;
  double largest_gap = 0;
  for (int step = 0; step < 200'000; ++step) {
    for (size_t tenant = 0; tenant < kWeights.size(); ++tenant) {
      for (; num_waiting[tenant] < kBacklog; ++num_waiting[tenant]) {
        tenant_of.emplace(next_id, tenant);
        // The heavier a tenant, the smaller its requests.
        const uint64_t num_tokens = 1 + random() % (kMaxPrompt / (tenant + 1));
        queue.push({.id = next_id++,
                    .tenant = tenant_name(tenant),
                    .weight = kWeights[tenant],
                    .num_tokens = num_tokens},
                   now);
      }
    }
    while (running.size() < kInFlight) {
      const uint64_t before = queue.num_tokens();
      const size_t tenant = tenant_of.extract(queue.front().value()).mapped();
      queue.pop(now);
      --num_waiting[tenant];
      served[tenant] += static_cast<double>(before - queue.num_tokens()) / kWeights[tenant];
      running.push_back({tenant, 1 + random() % (tenant == 0 ? kMaxOutput : 20)});
    }
    Running& each = running[random() % running.size()];
    served[each.tenant] += 1 / kWeights[each.tenant];
    queue.charge(tenant_name(each.tenant), 0, 1);
    if (--each.num_tokens_left == 0) {
      std::swap(each, running.back());
      running.pop_back();
    }
    double most = 0, least = 1e300;
    for (size_t tenant = 0; tenant < kWeights.size(); ++tenant) {
      most = std::max(most, served[tenant] - served_before[tenant]);
      least = std::min(least, served[tenant] - served_before[tenant]);
    }
    largest_gap = std::max(largest_gap, most - least);
    if (step % 997 == 0) served_before = served;  // windows of many beginnings
  }
  EXPECT_LE(largest_gap, kBound);
  EXPECT_GT(largest_gap, 0);
  for (size_t tenant = 1; tenant < kWeights.size(); ++tenant) {
    EXPECT_NEAR(served[tenant] / served[0], 1, 0.05) << "tenant " << tenant << " in the long run";
  }
}

// A server of 1,000 tokens a second behind the queue, in virtual time.
class Simulation {
 public:
  explicit Simulation(const QueueLimits& limits) : queue_(limits) {}

  // A Poisson process of requests of 10 tokens.
  void add_tenant(const std::string& name, double requests_per_second) {
    tenants_.push_back({.name = name,
                        .requests_per_second = requests_per_second,
                        .random = std::mt19937_64(tenants_.size()),
                        .next = {},
                        .waits = {}});
  }
  void run(double num_seconds) {
    const Time end = now_ + to_duration(num_seconds);
    for (Tenant& tenant : tenants_) tenant.next = now_ + gap(tenant);
    while (now_ < end) {
      Tenant& tenant = *std::min_element(tenants_.begin(), tenants_.end(),
                                         [](const Tenant& a, const Tenant& b) { return a.next < b.next; });
      now_ = tenant.next;
      serve();
      tenant.next = now_ + gap(tenant);
      const QueuedId id = next_id_++;
      const QueuedRequest request{.id = id, .tenant = tenant.name, .num_tokens = 10};
      const RequestQueue::Push push = queue_.push(request, now_);
      for (const QueuedId displaced : push.displaced) arrivals_.erase(displaced);
      if (push.refusal == Refusal::kNone) arrivals_[id] = {now_, &tenant};
    }
  }
  void forget_waits() {
    for (Tenant& tenant : tenants_) tenant.waits.clear();
  }
  // Of those that were served: the 99th percentile, in seconds.
  double wait_p99(size_t tenant) {
    std::vector<double>& waits = tenants_[tenant].waits;
    std::sort(waits.begin(), waits.end());
    return waits.at(waits.size() * 99 / 100);
  }
  // Share of the time in which the server worked.
  double utilisation() const { return busy_seconds_ / seconds(now_ - kStart); }

 private:
  struct Tenant {
    std::string name;
    double requests_per_second = 0;
    std::mt19937_64 random;  // its own: its requests come alike whatever others do
    Time next;
    std::vector<double> waits;
  };
  static constexpr Time kStart = Time(std::chrono::hours(1));
  static constexpr Duration kService = std::chrono::milliseconds(10);

  static Duration to_duration(double num_seconds) {
    return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(num_seconds));
  }
  static Duration gap(Tenant& tenant) {
    return to_duration(std::exponential_distribution<>(tenant.requests_per_second)(tenant.random));
  }
  // All that begins before now.
  void serve() {
    while (const auto id = queue_.front()) {
      const auto [arrival, tenant] = arrivals_.at(*id);
      const Time begin = std::max(free_, arrival);
      if (begin >= now_) return;
      queue_.pop(begin);
      arrivals_.erase(*id);
      tenant->waits.push_back(seconds(begin - arrival));
      free_ = begin + kService;
      busy_seconds_ += seconds(kService);
    }
  }

  RequestQueue queue_;
  Time now_ = kStart;
  Time free_ = kStart;
  double busy_seconds_ = 0;
  QueuedId next_id_ = 0;
  std::vector<Tenant> tenants_;
  std::unordered_map<QueuedId, std::pair<Time, Tenant*>> arrivals_;
};

TEST(RequestQueueRandomTest, AtTenTimesOverloadTheWaitIsBoundedAndNothingIdles) {
  Simulation simulation({.max_wait = std::chrono::milliseconds(500)});
  simulation.add_tenant("a", 1000);
  simulation.run(60);  // at first the rate is not known, and the queue takes what it can
  simulation.forget_waits();
  simulation.run(300);
  EXPECT_LT(simulation.wait_p99(0), 0.6);
  EXPECT_GT(simulation.utilisation(), 0.99);
}

TEST(RequestQueueRandomTest, AFloodDoesNotMoveAnotherTenantsWait) {
  // One tenant sends a fifth of its half of the server, the other the whole server's worth, or fifty times
  // it.
  const auto wait_beside = [](double num_times) {
    Simulation simulation({});
    simulation.add_tenant("light", 10);
    simulation.add_tenant("flood", 100 * num_times);
    simulation.run(500);
    return simulation.wait_p99(0);
  };
  const double at_once = wait_beside(1);
  const double at_fifty = wait_beside(50);
  EXPECT_LE(at_fifty, 1.1 * at_once + 0.005);
  EXPECT_LT(at_fifty, 0.05) << "a few turns of 10 ms, though a thousand requests of the other wait";
}

}  // namespace
}  // namespace octet::router
