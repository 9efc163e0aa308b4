// Chooses a token from each row of logits, or scores a given one: the steps of kernels/sample_row.h.
//
//   w[i] = exp((x[i] - max x) / temperature), x = logits[t] after edits and bans, of the tokens that are left
//   token = the lowest i with w[0] + .. + w[i] > draw * sum w
//   logprob(i) = logits[t, i] - max logits[t] - log(sum_j exp(logits[t, j] - max logits[t]))
//
// Shapes     logits [num_rows, vocab_size] fp32, rows may be strided; while the kernel runs the edited ones
//            change, then they are as before. saved [num_edits] fp32; results [num_rows].
// Requires   what sample_row.h says of edits and masks (Backend::sample checks it).
// Mapping    grid (num_rows), block (512, fewer for small vocabularies). A row's tokens in their order,
//            best first, are numbers of 32 + id_bits bits: the logit's bits, then the id's inverse. Each
//            filter keeps those from some number on, which is found eleven bits at a time (as a radix sort
//            would), from a histogram of counts for top_k, of weights for top_p. A draw divides the ids by
//            the number of warps, until 32 are left.
// Precision  edits, weights and sums in fp64. Weights are multiples of 1 / unit of the largest (2^-45 for
//            256,000 tokens), so that their sums are exact in any order; the log-probability's sum is
//            added thread by thread, then as block_sum() does. A row's bits do not depend on the batch.
// Cost       4 * num_rows * vocab_size bytes from DRAM, 76 for each row's plan, an eighth of a byte a
//            token for a mask, 25 for each edit, 13 for each result and 8 for each of its alternatives. A
//            row's later reads hit L2: edits or a mask read it once more, a draw once, top_k up to five
//            times, top_p six, each alternative once. So one multiprocessor's reads from L2 bound it, and an
//            exp() in fp64 for each token where there is a temperature or a log-probability.
// Checked by tests/kernels/sample_test.cc, its bytes by cuda_cost_test.cc.
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/op_kernels.h"
#include "kernels/cuda/sample_plan.h"
#include "kernels/philox.h"

namespace octet::kernels::cuda {
namespace {

using Word = unsigned long long;  // the type that CUDA's atomicAdd() knows

constexpr unsigned int kMaxThreads = 512;
constexpr unsigned int kMaxWarps = kMaxThreads / 32;
constexpr unsigned int kDigitBits = 11;
constexpr unsigned int kDigits = 1 << kDigitBits;
constexpr float kBanned = -INFINITY;
constexpr float kLargestFloat = 3.402823466e38f;

struct Shared {
  alignas(sizeof(Word)) unsigned char bins[kDigits * sizeof(Word)];  // of counts or of weights
  Word of_warps[kMaxWarps];
  double sums[kMaxWarps];
  Word found_prefix;
  Word found_above;
  Word found_through;  // the same and the bin's
};

__device__ inline Shared& shared() {
  return *reinterpret_cast<Shared*>(octet_shared);
}

// Every thread's values together, on every thread. Each call begins with a barrier and ends after one.
template <typename Combine>
__device__ Word over_block(Word x, const Combine& combine) {
  for (int lanes = 16; lanes > 0; lanes /= 2) x = combine(x, __shfl_xor_sync(~0u, x, lanes));
  __syncthreads();
  if (threadIdx.x % 32 == 0) shared().of_warps[threadIdx.x / 32] = x;
  __syncthreads();
  x = shared().of_warps[0];
  for (unsigned int warp = 1; warp < blockDim.x / 32; ++warp) x = combine(x, shared().of_warps[warp]);
  return x;
}
__device__ inline Word block_max(Word x) {
  return over_block(x, [](Word a, Word b) { return a > b ? a : b; });
}
__device__ inline Word block_total(Word x) {
  return over_block(x, [](Word a, Word b) { return a + b; });
}
__device__ inline double block_total(double x) {
  for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_xor_sync(~0u, x, lanes);
  __syncthreads();
  if (threadIdx.x % 32 == 0) shared().sums[threadIdx.x / 32] = x;
  __syncthreads();
  double total = 0;
  for (unsigned int warp = 0; warp < blockDim.x / 32; ++warp) total += shared().sums[warp];
  return total;
}

// One row of logits, with the bans of its mask.
struct Row {
  const float* logits;
  const uint32_t* allowed;  // nullptr: all are
  const SampleShape& shape;

  __device__ float logit(uint32_t i) const {
    return allowed == nullptr || (allowed[i / 32] >> i % 32 & 1) != 0 ? logits[i] : kBanned;
  }
  // Larger for a larger logit, or for a lower id among equal ones.
  __device__ Word rank(uint32_t i) const { return rank_of(logit(i), i); }
  __device__ Word rank_of(float logit, uint32_t i) const {
    const uint32_t bits = __float_as_uint(logit + 0.0f);  // -0 is 0
    const uint32_t key = bits ^ ((bits >> 31) != 0 ? 0xffffffffu : 0x80000000u);
    return static_cast<Word>(key) << shape.id_bits | (shape.vocab_size - 1 - i);
  }
  __device__ uint32_t id_of(Word rank) const {
    return shape.vocab_size - 1 - static_cast<uint32_t>(rank & ((Word{1} << shape.id_bits) - 1));
  }
  // The largest rank below `limit`; 0 if there is none.
  __device__ Word best_below(Word limit) const {
    Word best = 0;
    for (uint32_t i = threadIdx.x; i < shape.vocab_size; i += blockDim.x) {
      const Word r = rank(i);
      if (r < limit && r > best) best = r;
    }
    return block_max(best);
  }
};

constexpr Word kNoLimit = ~Word{0};

// In the histogram's bins, from the highest on: the first at which the sum reaches `wanted`. Of one warp;
// lane 0 of 32 takes the highest bins.
template <typename Sum>
__device__ void find_bin(const Sum* bins, Word above, Word wanted, unsigned int shift, Word prefix) {
  constexpr unsigned int kBinsOfLane = kDigits / 32;
  const unsigned int lane = threadIdx.x;
  const unsigned int top = kDigits - lane * kBinsOfLane;
  Word sum = 0;
  for (unsigned int i = 1; i <= kBinsOfLane; ++i) sum += bins[top - i];
  Word through = sum;  // of this lane and those before it
  for (int lanes = 1; lanes < 32; lanes *= 2) {
    const Word before = __shfl_sync(~0u, through, static_cast<int>(lane) - lanes);
    if (static_cast<int>(lane) >= lanes) through += before;
  }
  const unsigned int reached = __ballot_sync(~0u, above + through >= wanted);
  // Without one that reaches it everything is kept.
  if (lane != (reached != 0 ? static_cast<unsigned int>(__ffs(static_cast<int>(reached))) - 1 : 31)) return;
  Word passed = above + through - sum;
  unsigned int bin = top - 1;
  while (bin > top - kBinsOfLane && passed + bins[bin] < wanted) passed += bins[bin--];
  shared().found_prefix = prefix | static_cast<Word>(bin) << shift;
  shared().found_above = passed;
  shared().found_through = passed + bins[bin];
}

// The largest rank r, up to `limit`, for which value(i) over the tokens of rank r or more sums to `wanted`.
// value gives a token's share, as Sum.
template <typename Sum, typename Value>
__device__ Word find_threshold(const Row& row, Word wanted, const Value& value) {
  auto* const bins = reinterpret_cast<Sum*>(shared().bins);
  const unsigned int num_bits = 32 + row.shape.id_bits;
  Word prefix = 0;
  Word above = 0;  // sum over ranks beyond the prefix
  unsigned int unknown_bits = num_bits;
  while (unknown_bits > 0) {
    const unsigned int shift = unknown_bits > kDigitBits ? unknown_bits - kDigitBits : 0;
    const Word mask = (Word{1} << (unknown_bits - shift)) - 1;
    for (unsigned int i = threadIdx.x; i < kDigits; i += blockDim.x) bins[i] = 0;
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < row.shape.vocab_size; i += blockDim.x) {
      const Word rank = row.rank(i);
      if (rank >> unknown_bits != prefix >> unknown_bits) continue;
      const Sum share = value(i, rank);
      if (share != 0) atomicAdd(&bins[rank >> shift & mask], share);
    }
    __syncthreads();
    if (threadIdx.x < 32) find_bin(bins, above, wanted, shift, prefix);
    __syncthreads();
    prefix = shared().found_prefix;
    above = shared().found_above;
    unknown_bits = shift;
    if (shared().found_through == wanted) break;  // with all of the bin
  }
  return prefix;
}

// Probabilities over that of the best token, as whole numbers.
struct Weights {
  double best;
  double temperature;
  double min_p;
  Word least;  // rank of the last token that is left

  __device__ Word operator()(const Row& row, uint32_t i) const {
    const float logit = row.logit(i);
    if (row.rank_of(logit, i) < least) return 0;
    const double weight = exp((logit - best) / temperature);
    return weight < min_p ? 0 : static_cast<Word>(weight * row.shape.unit + 0.5);
  }
};

// Drops what comes after the tokens that sum to top_p of the total.
__device__ void keep_top_p(const Row& row, double top_p, Weights& weights) {
  Word sum = 0;
  for (uint32_t i = threadIdx.x; i < row.shape.vocab_size; i += blockDim.x) sum += weights(row, i);
  const auto total = static_cast<double>(block_total(sum));
  const double wanted = top_p * total;
  // All tokens as small as one of these sum to less than half of the part to drop: most of a large
  // vocabulary, which need not be added to the bins.
  const double negligible = (1 - top_p) * total / (2.0 * row.shape.vocab_size);
  const double least_logit = weights.best + weights.temperature * log(negligible / row.shape.unit);
  const Word least = find_threshold<Word>(
      row, wanted < 1 ? 1 : static_cast<Word>(ceil(wanted)),
      [&](uint32_t i, Word) { return row.logit(i) < least_logit ? Word{0} : weights(row, i); });
  if (least > weights.least) weights.least = least;
}

// The lowest token at which the weights sum to more than `draw` of the total.
__device__ uint32_t pick(const Row& row, const Weights& weights, double draw, uint32_t best) {
  const unsigned int warp = threadIdx.x / 32;
  const unsigned int lane = threadIdx.x % 32;
  const unsigned int num_warps = blockDim.x / 32;
  uint32_t first = 0;
  uint32_t end = row.shape.vocab_size;
  Word before = 0;
  Word target = 0;
  bool has_target = false;
  while (!has_target || end - first > 32) {
    const uint32_t part = ((end - first + num_warps - 1) / num_warps + 31) / 32 * 32;
    Word sum = 0;
    for (uint32_t i = first + warp * part + lane; i < end && i < first + (warp + 1) * part; i += 32) {
      sum += weights(row, i);
    }
    for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(~0u, sum, lanes);
    __syncthreads();
    if (lane == 0) shared().of_warps[warp] = sum;
    __syncthreads();
    if (!has_target) {
      Word total = 0;
      for (unsigned int w = 0; w < num_warps; ++w) total += shared().of_warps[w];
      target = static_cast<Word>(draw * static_cast<double>(total));
      if (target >= total) return best;  // the product was rounded up
      has_target = true;
    }
    unsigned int at = 0;
    while (before + shared().of_warps[at] <= target) before += shared().of_warps[at++];
    first += at * part;
    end = end - first < part ? end : first + part;
  }
  const uint32_t i = first + lane;
  Word through = i < end ? weights(row, i) : 0;
  for (int lanes = 1; lanes < 32; lanes *= 2) {
    const Word earlier = __shfl_sync(~0u, through, static_cast<int>(lane) - lanes);
    if (static_cast<int>(lane) >= lanes) through += earlier;
  }
  return first +
         static_cast<uint32_t>(__ffs(static_cast<int>(__ballot_sync(~0u, before + through > target)))) - 1;
}

__device__ inline float clamped(double logit) {
  if (logit == static_cast<double>(kBanned)) return kBanned;
  if (logit > static_cast<double>(kLargestFloat)) return kLargestFloat;
  return logit < -static_cast<double>(kLargestFloat) ? -kLargestFloat : static_cast<float>(logit);
}

// Never a fused multiply-add: the CPU has none here.
__device__ float edited(float raw, const LogitEdit& edit, const PlannedRow& plan) {
  const float biased = clamped(static_cast<double>(raw) + edit.bias);
  if (!edit.penalized) return biased;
  double logit = biased;
  const double repetition = plan.repetition_penalty;
  logit = plan.always_divides != 0 || logit > 0 ? logit / repetition : __dmul_rn(logit, repetition);
  if (edit.num_generated > 0) {
    logit -= __dadd_rn(__dmul_rn(plan.frequency_penalty, edit.num_generated), plan.presence_penalty);
  }
  return clamped(logit);
}

// row: edited.
__device__ uint32_t choose_edited(const Row& row, const PlannedRow& plan, Word best) {
  const uint32_t best_token = row.id_of(best);
  if (plan.temperature == 0) return best_token;
  Weights weights = {row.logit(best_token), plan.temperature, plan.min_p, 0};
  if (plan.top_k > 0 && plan.top_k < row.shape.vocab_size) {
    weights.least = find_threshold<unsigned int>(row, plan.top_k, [](uint32_t, Word) { return 1u; });
  }
  if (plan.top_p < 1) keep_top_p(row, plan.top_p, weights);
  return pick(row, weights, uniform_draw(plan.seed, plan.choice_index, plan.position), best_token);
}

// raw_best: the best rank of all raw logits.
__device__ uint32_t choose(float* logits, const Row& row, const PlannedRow& plan, const LogitEdit* edits,
                           float* saved, Word raw_best) {
  const bool changes = plan.num_edits > 0 || row.allowed != nullptr;
  for (uint32_t e = threadIdx.x; e < plan.num_edits; e += blockDim.x) {
    saved[e] = logits[edits[e].token];
    logits[edits[e].token] = edited(saved[e], edits[e], plan);
  }
  __syncthreads();
  const Word best = changes ? row.best_below(kNoLimit) : raw_best;
  const bool is_banned = row.logit(row.id_of(best)) == kBanned;
  uint32_t token = is_banned ? 0 : choose_edited(row, plan, best);
  __syncthreads();
  for (uint32_t e = threadIdx.x; e < plan.num_edits; e += blockDim.x) logits[edits[e].token] = saved[e];
  __syncthreads();
  if (is_banned) {
    token = row.id_of(row.best_below(kNoLimit));
    if (row.logit(token) == kBanned) token = row.id_of(raw_best);
  }
  return token;
}

// row: raw, without bans.
__device__ void score(const Row& row, uint32_t token, uint32_t num_top, Word best, RowResult& result) {
  const double offset = row.logits[row.id_of(best)];
  double sum = 0;
  for (uint32_t i = threadIdx.x; i < row.shape.vocab_size; i += blockDim.x)
    sum += exp(row.logits[i] - offset);
  const double log_sum = log(block_total(sum));
  if (threadIdx.x == 0) result.logprob = static_cast<float>(row.logits[token] - offset - log_sum);
  if (num_top > row.shape.vocab_size) num_top = row.shape.vocab_size;
  for (uint32_t n = 0; n < num_top; ++n) {
    if (n > 0) best = row.best_below(best);
    if (threadIdx.x != 0) continue;
    result.top_tokens[n] = row.id_of(best);
    result.top_logprobs[n] = static_cast<float>(row.logits[row.id_of(best)] - offset - log_sum);
  }
  if (threadIdx.x == 0) result.num_top = num_top;
}

__global__ __launch_bounds__(kMaxThreads) void sample_kernel(SampleTables tables, float* all_logits,
                                                             int64_t stride, SampleShape shape) {
  const PlannedRow& plan = tables.rows[blockIdx.x];
  RowResult& result = tables.results[blockIdx.x];
  float* const logits = all_logits + blockIdx.x * stride;
  const Row raw = {logits, nullptr, shape};
  bool is_finite = true;
  Word best = 0;
  for (uint32_t i = threadIdx.x; i < shape.vocab_size; i += blockDim.x) {
    const float logit = logits[i];
    is_finite = is_finite && fabsf(logit) <= kLargestFloat;
    const Word rank = raw.rank_of(logit, i);
    if (rank > best) best = rank;
  }
  is_finite = __syncthreads_or(is_finite ? 0 : 1) == 0;
  if (threadIdx.x == 0) {
    result.is_finite = is_finite;
    result.token = 0;
    result.logprob = 0;
    result.num_top = 0;
  }
  if (!is_finite) return;
  best = block_max(best);
  uint32_t token = plan.scored_token;
  if (plan.chooses != 0) {
    const uint32_t* const allowed = plan.first_word == kAllAllowed ? nullptr : tables.masks + plan.first_word;
    const Row row = {logits, allowed, shape};
    token = choose(logits, row, plan, tables.edits + plan.first_edit, tables.saved + plan.first_edit, best);
  }
  if (threadIdx.x == 0) result.token = token;
  if (plan.wants_scores != 0) score(raw, token, plan.num_top, best, result);
}

}  // namespace

void sample(Queue& queue, Tensor logits, const SampleTables& tables) {
  const SampleShape shape = shape_of(logits.size(1));
  queue.launch("sample",
               {.grid = static_cast<unsigned int>(logits.size(0)),
                .threads = shape.threads,
                .shared_bytes = sizeof(Shared)},
               sample_kernel, tables, logits.data<float>(), logits.row_stride(), shape);
}

}  // namespace octet::kernels::cuda
