#include "router/queue/fair_class.h"

#include <algorithm>

#include "base/check.h"

namespace octet::router {
namespace {

double share(size_t num_requests, uint64_t num_tokens, double weight, const QueueLimits& limits) {
  const double of_requests = static_cast<double>(num_requests) / limits.max_requests;
  const double of_tokens = static_cast<double>(num_tokens) / static_cast<double>(limits.max_tokens);
  return std::max(of_requests, of_tokens) / weight;
}

}  // namespace

void FairClass::add(const QueuedRequest& request, uint64_t arrival) {
  OCTET_CHECK(request.weight > 0, "weight ", request.weight);
  const auto [entry, is_new] = accounts_.try_emplace(request.tenant);
  Account& account = entry->second;
  account.weight = request.weight;
  if (account.waiting.empty()) {
    const double least = by_counter_.empty() ? account.counter : (*by_counter_.begin())->second.counter;
    account.comes_back = !is_new && account.counter < least;
    account.counter = std::max(account.counter, least);
    account.since = arrival;
    by_counter_.insert(&*entry);
  }
  account.waiting.insert({request.deadline, arrival, request.id, request.num_tokens});
  account.num_tokens += request.num_tokens;
  num_tokens_ += request.num_tokens;
}

void FairClass::remove(const QueuedRequest& request, uint64_t arrival) {
  const auto entry = accounts_.find(request.tenant);
  Account& account = entry->second;
  const size_t num_erased = account.waiting.erase({request.deadline, arrival, request.id, 0});
  OCTET_CHECK(num_erased == 1, "request ", request.id, " does not wait");
  if (account.waiting.empty()) by_counter_.erase(&*entry);
  account.num_tokens -= request.num_tokens;
  num_tokens_ -= request.num_tokens;
}

QueuedId FairClass::next() const {
  return (*by_counter_.begin())->second.waiting.begin()->id;
}

void FairClass::charge(const std::string& tenant, double num_tokens) {
  const auto entry = accounts_.find(tenant);
  if (entry == accounts_.end()) return;
  const bool waits = by_counter_.erase(&*entry) > 0;
  entry->second.counter += num_tokens / entry->second.weight;
  entry->second.comes_back = false;
  if (waits) by_counter_.insert(&*entry);
}

double FairClass::num_tokens_ahead(const QueuedRequest& newcomer) const {
  if (by_counter_.empty()) return 0;
  const auto own = accounts_.find(newcomer.tenant);
  double counter = (*by_counter_.begin())->second.counter;  // what it is lifted to
  double result = 0;
  if (own != accounts_.end()) {
    const Account& account = own->second;
    counter = std::max(counter, account.counter);
    result = static_cast<double>(account.num_tokens);
    for (auto it = account.waiting.rbegin(); it != account.waiting.rend() && it->deadline > newcomer.deadline;
         ++it) {
      result -= static_cast<double>(it->num_tokens);
    }
  }
  // When its turn comes its tenant's counter is here, and no other's that waits is below.
  const double level = counter + result / newcomer.weight;
  for (const Accounts::value_type* other : by_counter_) {
    const Account& account = other->second;
    if (account.counter >= level) break;
    if (other->first == newcomer.tenant) continue;
    result += std::min(static_cast<double>(account.num_tokens), (level - account.counter) * account.weight);
  }
  return result;
}

double FairClass::share_with(const QueuedRequest& newcomer, const QueueLimits& limits) const {
  const auto own = accounts_.find(newcomer.tenant);
  const size_t num_requests = own == accounts_.end() ? 0 : own->second.waiting.size();
  const uint64_t num_tokens = own == accounts_.end() ? 0 : own->second.num_tokens;
  return share(num_requests + 1, num_tokens + newcomer.num_tokens, newcomer.weight, limits);
}

FairClass::Last FairClass::last_of_the_largest(const QueueLimits& limits) const {
  const Account* largest = nullptr;
  double largest_share = -1;
  for (const Accounts::value_type* each : by_counter_) {
    const Account& account = each->second;
    const double its_share = share(account.waiting.size(), account.num_tokens, account.weight, limits);
    if (its_share > largest_share) {
      largest = &account;
      largest_share = its_share;
    }
  }
  const Place& last = *largest->waiting.rbegin();
  return {.id = last.id,
          .share_without = share(largest->waiting.size() - 1, largest->num_tokens - last.num_tokens,
                                 largest->weight, limits)};
}

}  // namespace octet::router
