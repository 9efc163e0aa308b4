#include "tests/worker/lead/fake_stage.h"

#include <algorithm>
#include <sstream>

namespace octet::worker {
namespace {

uint64_t hash(std::span<const TokenId> tokens) {
  uint64_t h = 0x9E3779B97F4A7C15;
  for (const TokenId token : tokens) {
    h = (h ^ token) * 0xBF58476D1CE4E5B9;
    h ^= h >> 29;
  }
  return h;
}

}  // namespace

TokenId next_token(std::span<const TokenId> tokens, uint32_t vocab_size) {
  return static_cast<TokenId>((hash(tokens) >> 17) % vocab_size);
}

float fake_logprob(std::span<const TokenId> tokens) {
  return -static_cast<float>(hash(tokens) % 1024) / 64;
}

std::vector<TokenId> expected_output(const NewSequence& sequence, const SchedulerConfig& config) {
  std::vector<TokenId> tokens = sequence.prompt;
  tokens.insert(tokens.end(), sequence.generated.begin(), sequence.generated.end());
  const std::vector<TokenId>& stops = sequence.stop_token_ids;
  while (tokens.size() - sequence.prompt.size() < sequence.max_tokens &&
         tokens.size() < config.max_model_len) {
    tokens.push_back(next_token(tokens, config.vocab_size));
    if (std::find(stops.begin(), stops.end(), tokens.back()) != stops.end()) break;
  }
  return {tokens.begin() + sequence.prompt.size(), tokens.end()};
}

FinishReason expected_finish(const NewSequence& sequence, const SchedulerConfig& config) {
  const TokenId last = expected_output(sequence, config).back();
  const std::vector<TokenId>& stops = sequence.stop_token_ids;
  return std::find(stops.begin(), stops.end(), last) != stops.end() ? FinishReason::kStop
                                                                    : FinishReason::kLength;
}

FakeStage::FakeStage(const SchedulerConfig& config)
    : config_(config), cache_(size_t{config.num_blocks} * config.block_size) {}

void FakeStage::reset() {
  sequences_.clear();
  last_step_ = 0;
  std::fill(cache_.begin(), cache_.end(), 0);
}

template <typename... Parts>
void FakeStage::error(const Parts&... parts) {
  std::ostringstream message;
  message << "step " << last_step_ << ": ";
  (message << ... << parts);
  errors_.push_back(message.str());
}

StepResult FakeStage::execute(const BatchPlan& plan) {
  if (plan.step != last_step_ + 1) error("follows step ", last_step_, " as ", plan.step);
  last_step_ = plan.step;
  for (const SequenceId id : plan.released) {
    if (sequences_.erase(id) == 0) error("releases the unknown sequence ", id);
  }
  for (const AdmittedSequence& sequence : plan.admitted) admit(sequence);

  StepResult result;
  result.step = plan.step;
  std::set<SequenceId> seen;
  uint32_t num_rows = 0;
  for (const SequenceChunk& chunk : plan.chunks) {
    num_rows += static_cast<uint32_t>(chunk.tokens.size());
    if (!seen.insert(chunk.id).second) error("has two chunks of sequence ", chunk.id);
    const auto entry = sequences_.find(chunk.id);
    if (entry == sequences_.end()) {
      error("has a chunk of the unknown sequence ", chunk.id);
      continue;
    }
    take_tokens(chunk, entry->second);
    take_blocks(chunk, entry->second);
    write_cache(chunk, entry->second);
    if (auto outcome = sample(chunk, entry->second)) result.samples.push_back(std::move(*outcome));
  }
  for (const AdmittedSequence& sequence : plan.admitted) {
    if (!seen.contains(sequence.id)) error("admits sequence ", sequence.id, " without a chunk");
  }
  if (num_rows == 0 || num_rows > config_.max_batch_tokens) error("has ", num_rows, " rows");
  return result;
}

void FakeStage::admit(const AdmittedSequence& sequence) {
  if (sequences_.contains(sequence.id)) error("admits sequence ", sequence.id, " again without releasing it");
  if (sequence.num_prompt_tokens == 0 || sequence.num_prompt_tokens > sequence.tokens.size()) {
    error("admits sequence ", sequence.id, " with ", sequence.num_prompt_tokens, " prompt tokens");
  }
  State& state = sequences_[sequence.id];
  state = {};
  state.tokens = sequence.tokens;
  state.num_prompt_tokens = sequence.num_prompt_tokens;
  state.sampling = sequence.sampling;
  state.blocks = sequence.cached_blocks;
  state.num_cached_blocks = static_cast<uint32_t>(sequence.cached_blocks.size());
  state.num_computed = state.num_cached_blocks * config_.block_size;
  if (state.num_computed >= sequence.tokens.size()) {
    error("leaves nothing of sequence ", sequence.id, " to compute");
  }
}

// A chunk starts where the last one ended and holds the sequence's own tokens.
void FakeStage::take_tokens(const SequenceChunk& chunk, State& state) {
  if (chunk.tokens.empty()) error("has an empty chunk of sequence ", chunk.id);
  if (chunk.start_position != state.num_computed) {
    error("computes sequence ", chunk.id, " from ", chunk.start_position, ", not ", state.num_computed);
  }
  const size_t end = chunk.start_position + chunk.tokens.size();
  if (end > state.tokens.size()) error("computes ", end, " tokens of sequence ", chunk.id);
  for (size_t i = 0; i < chunk.tokens.size() && chunk.start_position + i < state.tokens.size(); ++i) {
    if (chunk.tokens[i] != state.tokens[chunk.start_position + i])
      error("changes a token of sequence ", chunk.id);
  }
  if (chunk.samples != (end == state.tokens.size())) error("samples wrongly of sequence ", chunk.id);
}

// Another sequence with the block in its table, whose first chunk is computed: one admitted by this plan may
// share what the plan's earlier chunks write.
std::optional<SequenceId> FakeStage::reader_of(BlockId block, SequenceId but) const {
  for (const auto& [id, other] : sequences_) {
    if (id == but || !other.has_run) continue;
    if (std::find(other.blocks.begin(), other.blocks.end(), block) != other.blocks.end()) return id;
  }
  return std::nullopt;
}

// No block is new in one table while another reads it, and the table has slots for all computed tokens and
// none to spare.
void FakeStage::take_blocks(const SequenceChunk& chunk, State& state) {
  for (const BlockId block : chunk.new_blocks) {
    if (block >= config_.num_blocks) error("uses block ", block);
    if (const auto id = reader_of(block, chunk.id))
      error("gives block ", block, " of ", *id, " to ", chunk.id);
    state.blocks.push_back(block);
  }
  state.num_computed = chunk.start_position + static_cast<uint32_t>(chunk.tokens.size());
  const size_t num_slots = state.blocks.size() * config_.block_size;
  if (num_slots < state.num_computed || num_slots >= state.num_computed + config_.block_size) {
    error("computes ", state.num_computed, " tokens of sequence ", chunk.id, " with ", state.blocks.size(),
          " blocks");
  }
}

// No chunk writes where another sequence reads, and every token before the chunk's end is found in the cache
// as this sequence would have written it.
void FakeStage::write_cache(const SequenceChunk& chunk, State& state) {
  const std::span<const TokenId> tokens(state.tokens);
  const size_t end =
      std::min({size_t{state.num_computed}, tokens.size(), state.blocks.size() * config_.block_size});
  for (size_t position = 0; position < end; ++position) {
    const BlockId block = state.blocks[position / config_.block_size];
    uint64_t& slot = cache_.at(size_t{block} * config_.block_size + position % config_.block_size);
    const uint64_t content = hash(tokens.first(position + 1));
    if (position >= chunk.start_position) {
      if (const auto id = reader_of(block, chunk.id)) error(chunk.id, " writes block ", block, " of ", *id);
      if (position / config_.block_size < state.num_cached_blocks)
        error(chunk.id, " writes cached block ", block);
      slot = content;
    }
    if (slot != content) error("lost position ", position, " of sequence ", chunk.id);
  }
  state.has_run = true;
}

std::optional<SequenceSample> FakeStage::sample(const SequenceChunk& chunk, State& state) {
  const std::span<const TokenId> tokens(state.tokens);
  SequenceSample result;
  result.id = chunk.id;
  const uint32_t first = chunk.first_prompt_logprob_row;
  const uint32_t end = chunk.end_prompt_logprob_row;
  if (first > end || end > chunk.tokens.size())
    error("scores rows ", first, " to ", end, " of sequence ", chunk.id);
  if (first < end && !state.sampling.prompt_logprobs)
    error("scores the prompt of sequence ", chunk.id, " unasked");
  for (uint32_t row = first; row < end; ++row) {
    const uint32_t position = chunk.start_position + row + 1;
    if (position >= state.num_prompt_tokens) error("scores position ", position, " of sequence ", chunk.id);
    ScoredToken& scored = result.prompt_logprobs.emplace_back();
    scored.token = tokens[position];
    scored.logprob = fake_logprob(tokens.first(position + 1));
  }
  if (chunk.samples) {
    ScoredToken& scored = result.token.emplace();
    scored.token = next_token(tokens, config_.vocab_size);
    state.tokens.push_back(scored.token);
  }
  if (!chunk.samples && first == end) return std::nullopt;
  if (poisoned_.contains(chunk.id)) {
    result.token.reset();
    result.prompt_logprobs.clear();
    result.not_finite = true;
  }
  if (chunk.samples && refused_.contains(chunk.id)) {
    result.token.reset();
    result.refusal = "no token of the vocabulary can follow";
  }
  return result;
}

}  // namespace octet::worker
