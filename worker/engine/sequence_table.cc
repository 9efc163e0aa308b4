#include "worker/engine/sequence_table.h"

#include <iterator>
#include <utility>

namespace octet::worker {
namespace {

// Puts `later` behind `news`.
void append(SequenceNews& news, SequenceNews later) {
  std::move(later.tokens.begin(), later.tokens.end(), std::back_inserter(news.tokens));
  std::move(later.prompt_logprobs.begin(), later.prompt_logprobs.end(),
            std::back_inserter(news.prompt_logprobs));
  news.num_cached_tokens += later.num_cached_tokens;
  news.finish = later.finish;
  news.failure = std::move(later.failure);
}

}  // namespace

void SequenceTable::add_subscriber(SubscriberId id, std::shared_ptr<Subscriber> subscriber) {
  subscribers_[id].subscriber = std::move(subscriber);
}

std::shared_ptr<Subscriber> SequenceTable::subscriber(SubscriberId id) const {
  const auto found = subscribers_.find(id);
  return found == subscribers_.end() ? nullptr : found->second.subscriber;
}

std::vector<SequenceId> SequenceTable::remove_subscriber(SubscriberId id) {
  std::vector<SequenceId> ids;
  const auto found = subscribers_.find(id);
  if (found == subscribers_.end()) return ids;
  for (const auto& [router_sequence_id, sequence] : found->second.sequences) {
    ids.push_back(sequence);
    owners_.erase(sequence);
  }
  subscribers_.erase(found);
  return ids;
}

std::vector<SubscriberId> SequenceTable::subscribers() const {
  std::vector<SubscriberId> ids;
  for (const auto& [id, entry] : subscribers_) ids.push_back(id);
  return ids;
}

std::optional<SequenceId> SequenceTable::add(SubscriberId subscriber, uint64_t router_sequence_id,
                                             uint32_t output_interval) {
  Entry& entry = subscribers_.at(subscriber);
  const auto [position, inserted] = entry.sequences.try_emplace(router_sequence_id, next_id_);
  if (!inserted) return std::nullopt;
  owners_[next_id_] = {subscriber, router_sequence_id, output_interval, /*was_heard_of=*/false, {}};
  return next_id_++;
}

std::optional<SequenceId> SequenceTable::find(SubscriberId subscriber, uint64_t router_sequence_id) const {
  const auto found = subscribers_.find(subscriber);
  if (found == subscribers_.end()) return std::nullopt;
  const auto sequence = found->second.sequences.find(router_sequence_id);
  if (sequence == found->second.sequences.end()) return std::nullopt;
  return sequence->second;
}

void SequenceTable::remove(SequenceId id) {
  const auto found = owners_.find(id);
  if (found == owners_.end()) return;
  subscribers_.at(found->second.subscriber).sequences.erase(found->second.router_sequence_id);
  owners_.erase(found);
}

void SequenceTable::add_news(SequenceId id, SequenceNews news) {
  const auto found = owners_.find(id);
  if (found == owners_.end()) return;
  Owner& owner = found->second;
  append(owner.held, std::move(news));
  const bool is_first = !std::exchange(owner.was_heard_of, true);
  const bool is_last = owner.held.finish || !owner.held.failure.ok();
  if (!is_first && !is_last && owner.held.tokens.size() < owner.output_interval) return;
  Entry& entry = subscribers_.at(owner.subscriber);
  if (entry.news.empty()) with_news_.push_back(owner.subscriber);
  owner.held.router_sequence_id = owner.router_sequence_id;
  entry.news.push_back(std::exchange(owner.held, {}));
}

std::vector<SubscriberId> SequenceTable::flush() {
  std::vector<SubscriberId> failed;
  for (const SubscriberId id : with_news_) {
    const auto found = subscribers_.find(id);
    if (found == subscribers_.end()) continue;  // left after the news
    if (!found->second.subscriber->deliver(std::exchange(found->second.news, {}))) failed.push_back(id);
  }
  with_news_.clear();
  return failed;
}

}  // namespace octet::worker
