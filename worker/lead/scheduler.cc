#include "worker/lead/scheduler.h"

#include <algorithm>
#include <deque>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/check.h"
#include "worker/lead/admission_checks.h"
#include "worker/lead/block_pool.h"
#include "worker/lead/plan_in_flight.h"
#include "worker/lead/sequence.h"

namespace octet::worker {
namespace {

struct BySeniority {
  bool operator()(const Sequence* a, const Sequence* b) const { return a->seniority() < b->seniority(); }
};
// Waiting sequences looked at in one step although they wait for a running prefill's blocks.
constexpr int kMaxHeldBack = 16;

using SenioritySet = std::set<Sequence*, BySeniority>;

// The largest part of `total` when it is divided evenly.
uint32_t even_share(uint32_t total, uint32_t num_parts) {
  return total / num_parts + (total % num_parts == 0 ? 0 : 1);
}

SchedulerConfig checked(const SchedulerConfig& c) {
  OCTET_CHECK(c.num_blocks > 0 && c.block_size > 0, c.num_blocks, " blocks of ", c.block_size);
  OCTET_CHECK(c.max_batch_tokens > 0 && c.max_micro_batches > 0, c.max_batch_tokens, " x ",
              c.max_micro_batches);
  OCTET_CHECK(c.max_running_sequences > 0 && c.max_waiting_sequences > 0, c.max_running_sequences,
              " running, ", c.max_waiting_sequences, " waiting");
  OCTET_CHECK(c.max_model_len > 0 && c.vocab_size > 0, c.max_model_len, " tokens of ", c.vocab_size);
  return c;
}

// Of a sequence for which the last stage could not choose a token.
Refusal refusal_of(const SequenceSample& sample, const Sequence& sequence) {
  if (!sample.refusal.empty()) {
    return {.kind = Refusal::Kind::kInvalid, .message = "structured output: " + sample.refusal};
  }
  return {.kind = Refusal::Kind::kInternal,
          .message = "the model's logits hold NaN or infinity after " +
                     std::to_string(sequence.num_tokens()) + " tokens"};
}

}  // namespace

struct Scheduler::State {
  State(const SchedulerConfig& c, PrefixObserver* observer)
      : config(checked(c)), pool(c.num_blocks, c.block_size, observer) {}

  // The parts of schedule(), each of which adds to the plan.
  bool claim_next_blocks(Time now);
  void plan_decodes(Time now, BatchPlan& plan, uint32_t& num_rows_left);
  void plan_prefills(Time now, BatchPlan& plan, uint32_t& num_rows_left);
  void admit_waiting(Time now, BatchPlan& plan, uint32_t& num_rows_left);

  bool can_be_planned(const Sequence& sequence, Time now) const;
  void plan_chunk(Sequence& sequence, uint32_t num_tokens, BatchPlan& plan);
  void plan_prefill_chunk(Sequence& sequence, BatchPlan& plan, uint32_t& num_rows_left);
  void admit(Sequence& sequence, const std::vector<CachedBlock>& cached, BatchPlan& plan);
  bool preempt_junior_of(const Sequence& claimant);
  void make_wait(Sequence& sequence);
  uint32_t max_running() const;
  uint64_t num_blocks_promised() const;
  std::unordered_set<uint64_t> coming_prefixes() const;
  SequenceUpdate commit_chunk(const PlanInFlight::Chunk& chunk, const SequenceSample* sample,
                              Sequence& sequence);
  void end(Sequence& sequence);

  const SchedulerConfig config;
  BlockPool pool;                                      // outlives the sequences, which hold its blocks
  std::unordered_map<SequenceId, Sequence> sequences;  // the owner; all other containers point into it
  SenioritySet running;
  SenioritySet waiting;
  std::set<std::pair<Time, SequenceId>> deadlines;  // of the sequences that have one
  std::deque<PlanInFlight> in_flight;               // oldest first
  std::vector<SequenceId> released;                 // known to the stages until the next plan says so
  uint64_t last_step = 0;
  uint64_t num_arrivals = 0;
  uint64_t num_preemptions = 0;
  uint64_t outstanding_prompt_tokens = 0;
  uint64_t prefix_query_tokens = 0;
  uint64_t prefix_hit_tokens = 0;
};

Scheduler::Scheduler(const SchedulerConfig& config, PrefixObserver* observer)
    : state_(std::make_unique<State>(config, observer)) {}
Scheduler::~Scheduler() = default;

std::optional<Refusal> Scheduler::submit(NewSequence sequence) {
  State& s = *state_;
  OCTET_CHECK(!s.sequences.contains(sequence.id), "sequence ", sequence.id, " exists");
  if (auto refusal = refuse_invalid(sequence, s.config)) return refusal;
  if (s.waiting.size() >= s.config.max_waiting_sequences) {
    return Refusal{.kind = Refusal::Kind::kOverloaded,
                   .message = std::to_string(s.waiting.size()) + " sequences are waiting, and the limit is " +
                              std::to_string(s.config.max_waiting_sequences)};
  }
  const SequenceId id = sequence.id;
  const auto [entry, is_new] =
      s.sequences.try_emplace(id, std::move(sequence), s.num_arrivals++, s.config.block_size);
  Sequence& taken = entry->second;
  s.waiting.insert(&taken);
  if (taken.deadline() != kNoDeadline) s.deadlines.emplace(taken.deadline(), id);
  s.outstanding_prompt_tokens += taken.num_pending_prompt_tokens();
  return std::nullopt;
}

void Scheduler::cancel(SequenceId id) {
  const auto entry = state_->sequences.find(id);
  if (entry != state_->sequences.end()) state_->end(entry->second);
}

std::optional<BatchPlan> Scheduler::schedule(Time now) {
  State& s = *state_;
  if (s.in_flight.size() >= s.config.max_micro_batches) return std::nullopt;
  BatchPlan plan;
  plan.step = s.last_step + 1;
  uint32_t num_rows_left = s.config.max_batch_tokens;
  const bool preempted = s.claim_next_blocks(now);
  s.plan_decodes(now, plan, num_rows_left);
  s.plan_prefills(now, plan, num_rows_left);
  if (!preempted) s.admit_waiting(now, plan, num_rows_left);
  if (plan.chunks.empty()) return std::nullopt;
  plan.released = std::exchange(s.released, {});
  s.last_step = plan.step;
  s.in_flight.emplace_back(plan);
  return plan;
}

// Returns whether a sequence was preempted.
bool Scheduler::State::claim_next_blocks(Time now) {
  bool preempted = false;
  // Preemption erases only sequences behind the current one.
  for (Sequence* sequence : running) {
    if (sequence->is_in_flight() || sequence->is_overdue(now)) continue;
    if (sequence->num_pending_with_slots() > 0) continue;
    std::optional<Block> block = pool.allocate();
    // One that is preempted may hold only blocks that others hold as well.
    while (!block.has_value() && preempt_junior_of(*sequence)) {
      preempted = true;
      block = pool.allocate();
    }
    if (block.has_value()) sequence->add_block(std::move(*block));
  }
  return preempted;
}

// Returns whether there was one to preempt.
bool Scheduler::State::preempt_junior_of(const Sequence& claimant) {
  for (auto victim = running.rbegin(); victim != running.rend() && *victim != &claimant; ++victim) {
    if ((*victim)->is_in_flight()) continue;
    ++num_preemptions;
    released.push_back((*victim)->id());
    make_wait(**victim);
    return true;
  }
  return false;
}

void Scheduler::State::make_wait(Sequence& sequence) {
  outstanding_prompt_tokens -= sequence.num_pending_prompt_tokens();
  sequence.withdraw();
  outstanding_prompt_tokens += sequence.num_pending_prompt_tokens();
  running.erase(&sequence);
  waiting.insert(&sequence);
}

bool Scheduler::State::can_be_planned(const Sequence& sequence, Time now) const {
  return !sequence.is_in_flight() && !sequence.is_overdue(now) && sequence.num_pending_with_slots() > 0;
}

void Scheduler::State::plan_decodes(Time now, BatchPlan& plan, uint32_t& num_rows_left) {
  uint32_t num_decoding = 0;
  std::vector<Sequence*> ready;
  for (Sequence* sequence : running) {
    if (!sequence->is_decoding()) continue;
    ++num_decoding;
    if (can_be_planned(*sequence, now)) ready.push_back(sequence);
  }
  std::stable_sort(ready.begin(), ready.end(), [](const Sequence* a, const Sequence* b) {
    return a->last_planned_step() < b->last_planned_step();
  });
  const uint32_t share = std::min(even_share(num_decoding, config.max_micro_batches), num_rows_left);
  if (ready.size() > share) ready.resize(share);
  for (Sequence* sequence : ready) plan_chunk(*sequence, 1, plan);
  num_rows_left -= static_cast<uint32_t>(ready.size());
}

void Scheduler::State::plan_prefills(Time now, BatchPlan& plan, uint32_t& num_rows_left) {
  for (Sequence* sequence : running) {
    if (num_rows_left == 0) return;
    if (sequence->is_prefilling() && can_be_planned(*sequence, now)) {
      plan_prefill_chunk(*sequence, plan, num_rows_left);
    }
  }
}

void Scheduler::State::plan_chunk(Sequence& sequence, uint32_t num_tokens, BatchPlan& plan) {
  plan.chunks.push_back(sequence.plan_chunk(num_tokens, plan.step));
  if (config.prefix_cache) sequence.keep_full_blocks(pool);
}

// As large a chunk as the rows and the free blocks allow.
void Scheduler::State::plan_prefill_chunk(Sequence& sequence, BatchPlan& plan, uint32_t& num_rows_left) {
  const uint32_t wanted = std::min(num_rows_left, sequence.num_pending());
  while (sequence.num_pending_with_slots() < wanted) {
    std::optional<Block> block = pool.allocate();
    if (!block.has_value()) break;
    sequence.add_block(std::move(*block));
  }
  const uint32_t num_tokens = std::min(wanted, sequence.num_pending_with_slots());
  plan_chunk(sequence, num_tokens, plan);
  num_rows_left -= num_tokens;
}

void Scheduler::State::admit_waiting(Time now, BatchPlan& plan, uint32_t& num_rows_left) {
  const uint64_t watermark = config.num_blocks / 100;
  if (waiting.empty()) return;
  uint64_t num_promised = num_blocks_promised();
  std::unordered_set<uint64_t> coming = coming_prefixes();
  int num_held_back = 0;
  auto next = waiting.begin();
  while (next != waiting.end() && num_rows_left > 0 && running.size() < max_running()) {
    Sequence& sequence = **next;
    if (sequence.is_overdue(now)) {
      ++next;
      continue;
    }
    const uint64_t reserve = running.empty() ? 0 : num_promised + watermark;
    const std::vector<CachedBlock> cached =
        config.prefix_cache ? sequence.find_cached(pool) : std::vector<CachedBlock>();
    const auto wanted = sequence.wanted_prefix(static_cast<uint32_t>(cached.size()));
    if (wanted && coming.contains(*wanted)) {
      if (++num_held_back > kMaxHeldBack) return;
      ++next;
      continue;
    }
    const auto num_held = static_cast<uint64_t>(
        std::ranges::count_if(cached, [this](const CachedBlock& c) { return pool.is_held(c.block); }));
    if (sequence.num_missing_blocks() - num_held + reserve > pool.num_free()) return;
    next = waiting.erase(next);
    admit(sequence, cached, plan);
    plan_prefill_chunk(sequence, plan, num_rows_left);
    num_promised += sequence.num_missing_blocks();
    if (const auto prefix = sequence.coming_prefix()) coming.insert(*prefix);
  }
}

void Scheduler::State::admit(Sequence& sequence, const std::vector<CachedBlock>& cached, BatchPlan& plan) {
  const bool is_first = !sequence.was_admitted();
  outstanding_prompt_tokens -= sequence.num_pending_prompt_tokens();
  plan.admitted.push_back(sequence.admit(cached, pool));
  outstanding_prompt_tokens += sequence.num_pending_prompt_tokens();
  running.insert(&sequence);
  if (!is_first || !config.prefix_cache) return;
  prefix_query_tokens += sequence.num_prompt_tokens();
  prefix_hit_tokens += sequence.num_prompt_tokens() - sequence.num_pending_prompt_tokens();
}

// As many as all micro-batches have rows for, so that each can have one in every round.
uint32_t Scheduler::State::max_running() const {
  const uint64_t max_rows = uint64_t{config.max_batch_tokens} * config.max_micro_batches;
  return static_cast<uint32_t>(std::min<uint64_t>(config.max_running_sequences, max_rows));
}

// Blocks that running prefills were admitted for and have not taken yet.
uint64_t Scheduler::State::num_blocks_promised() const {
  uint64_t num_blocks = 0;
  for (const Sequence* sequence : running) {
    if (sequence->is_prefilling()) num_blocks += sequence->num_missing_blocks();
  }
  return num_blocks;
}

// What running prefills will compute next: by name alone, since nothing but the order of work depends on it.
std::unordered_set<uint64_t> Scheduler::State::coming_prefixes() const {
  std::unordered_set<uint64_t> prefixes;
  if (!config.prefix_cache) return prefixes;
  for (Sequence* sequence : running) {
    if (const auto prefix = sequence->coming_prefix()) prefixes.insert(*prefix);
  }
  return prefixes;
}

CommitOutcome Scheduler::commit(const StepResult& result) {
  State& s = *state_;
  CommitOutcome outcome;
  if (s.in_flight.empty()) {
    outcome.error = "a result of step " + std::to_string(result.step) + ", and none is in flight";
  } else {
    outcome.error = contradiction(s.in_flight.front(), result, s.config.vocab_size);
  }
  if (outcome.error.has_value()) return outcome;
  const PlanInFlight plan = std::move(s.in_flight.front());
  s.in_flight.pop_front();

  auto next_sample = result.samples.begin();
  for (const PlanInFlight::Chunk& chunk : plan.chunks) {
    const SequenceSample* sample = chunk.has_sample() ? &*next_sample++ : nullptr;
    const auto entry = s.sequences.find(chunk.id);
    if (entry == s.sequences.end()) continue;  // ended since
    SequenceUpdate update = s.commit_chunk(chunk, sample, entry->second);
    if (sample != nullptr) outcome.updates.push_back(std::move(update));
  }
  return outcome;
}

SequenceUpdate Scheduler::State::commit_chunk(const PlanInFlight::Chunk& chunk, const SequenceSample* sample,
                                              Sequence& sequence) {
  SequenceUpdate update;
  update.id = chunk.id;
  if (sample != nullptr && (sample->not_finite || !sample->refusal.empty())) {
    update.failure = refusal_of(*sample, sequence);
    if (sample->not_finite) sequence.forget_blocks(pool);
    end(sequence);
    return update;
  }
  outstanding_prompt_tokens -= sequence.num_pending_prompt_tokens();
  sequence.commit_chunk(chunk.num_tokens, chunk.num_prompt_logprobs);
  outstanding_prompt_tokens += sequence.num_pending_prompt_tokens();
  if (sample == nullptr) return update;
  update.num_cached_tokens = sequence.take_num_cached_tokens();
  update.prompt_logprobs = sample->prompt_logprobs;
  if (chunk.samples) {
    update.tokens.push_back(*sample->token);
    update.finish = sequence.append(sample->token->token, config.max_model_len);
    if (update.finish.has_value()) end(sequence);
  }
  return update;
}

void Scheduler::State::end(Sequence& sequence) {
  if (sequence.is_running()) {
    running.erase(&sequence);
    released.push_back(sequence.id());
  } else {
    waiting.erase(&sequence);
  }
  if (sequence.deadline() != kNoDeadline) deadlines.erase({sequence.deadline(), sequence.id()});
  outstanding_prompt_tokens -= sequence.num_pending_prompt_tokens();
  sequences.erase(sequence.id());
}

std::vector<SequenceUpdate> Scheduler::expire(Time now) {
  State& s = *state_;
  std::vector<SequenceUpdate> updates;
  while (!s.deadlines.empty() && s.deadlines.begin()->first <= now) {
    const SequenceId id = s.deadlines.begin()->second;
    s.end(s.sequences.at(id));
    SequenceUpdate& update = updates.emplace_back();
    update.id = id;
    update.finish = FinishReason::kDeadline;
  }
  return updates;
}

Time Scheduler::next_deadline() const {
  return state_->deadlines.empty() ? kNoDeadline : state_->deadlines.begin()->first;
}

void Scheduler::reset() {
  State& s = *state_;
  s.in_flight.clear();
  while (!s.running.empty()) s.make_wait(**s.running.begin());
  s.released.clear();
  s.last_step = 0;
  s.pool.clear();
}

SchedulerStats Scheduler::stats() const {
  const State& s = *state_;
  return {.running = static_cast<uint32_t>(s.running.size()),
          .waiting = static_cast<uint32_t>(s.waiting.size()),
          .free_blocks = s.pool.num_free(),
          .total_blocks = s.config.num_blocks,
          .outstanding_prompt_tokens = s.outstanding_prompt_tokens,
          .preemptions = s.num_preemptions,
          .micro_batches_in_flight = static_cast<uint32_t>(s.in_flight.size()),
          .prefix_query_tokens = s.prefix_query_tokens,
          .prefix_hit_tokens = s.prefix_hit_tokens,
          .prefix_evictions = s.pool.num_evictions()};
}

}  // namespace octet::worker
