// Chooses a token from each row of logits, or scores a given one; sample_row.h has the steps.
//
//   logprob(i) = logits[t, i] - max_j logits[t, j] - log(sum_j exp(logits[t, j] - max_j logits[t, j]))
//
// Shapes     logits [num_rows, vocab_size] fp32, rows may be strided; rows, results [num_rows].
// Requires   tokens inside the vocabulary, edits by rising token (Backend::sample checks it).
// Mapping    a thread takes a contiguous part of the rows, and edits a copy of a row in memory of its own.
// Precision  sums and probabilities in fp64, added in order of the ids; an edited logit is rounded to fp32
//            after the bias and again after the penalties.
// Cost       4 * num_rows * vocab_size bytes from memory; the copy and the weights, 20 bytes a token, stay in
//            the caches. An exp() a token where there is a temperature, another for a log-probability.
// Checked by tests/kernels/sample_test.cc, token_filter_test.cc.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/cpu_backend_impl.h"
#include "kernels/cpu/token_filter.h"
#include "kernels/philox.h"

namespace octet::kernels {
namespace {

constexpr float kBanned = -std::numeric_limits<float>::infinity();

bool all_finite(std::span<const float> logits) {
  bool finite = true;
  for (const float logit : logits) finite &= std::abs(logit) <= std::numeric_limits<float>::max();
  return finite;
}

// In lanes, which compilers turn into vector instructions; std::max_element is ten times slower.
float largest(std::span<const float> logits) {
  constexpr size_t kNumLanes = 16;
  float lanes[kNumLanes];
  std::fill_n(lanes, kNumLanes, kBanned);
  size_t i = 0;
  for (; i + kNumLanes <= logits.size(); i += kNumLanes) {
    for (size_t lane = 0; lane < kNumLanes; ++lane) lanes[lane] = std::max(lanes[lane], logits[i + lane]);
  }
  float result = *std::max_element(lanes, lanes + kNumLanes);
  for (; i < logits.size(); ++i) result = std::max(result, logits[i]);
  return result;
}

// The index of the largest, the lowest one among equals.
uint32_t argmax(std::span<const float> logits) {
  return static_cast<uint32_t>(std::find(logits.begin(), logits.end(), largest(logits)) - logits.begin());
}

float clamped(double logit) {
  constexpr double kMax = std::numeric_limits<float>::max();
  if (logit == kBanned) return kBanned;
  return static_cast<float>(std::clamp(logit, -kMax, kMax));
}

float edited(float raw, const LogitEdit& edit, const SampleRow& row) {
  const float biased = clamped(double{raw} + edit.bias);
  if (!edit.penalized) return biased;
  double logit = biased;
  const double repetition = row.repetition_penalty;
  logit = row.always_divides || logit > 0 ? logit / repetition : logit * repetition;
  if (edit.num_generated > 0) {
    logit -= double{row.frequency_penalty} * edit.num_generated + row.presence_penalty;
  }
  return clamped(logit);
}

void ban_others(std::span<const uint32_t> allowed, std::span<float> logits) {
  if (allowed.empty()) return;
  for (size_t i = 0; i < logits.size(); ++i) {
    if ((allowed[i / 32] >> i % 32 & 1) == 0) logits[i] = kBanned;
  }
}

uint32_t choose(std::span<const float> raw, const SampleRow& row, SampleWorkspace& workspace) {
  const std::span<float> logits(workspace.logits);
  std::copy(raw.begin(), raw.end(), logits.begin());
  for (const LogitEdit& edit : row.edits) logits[edit.token] = edited(raw[edit.token], edit, row);
  ban_others(row.allowed, logits);
  const uint32_t best = argmax(logits);
  if (logits[best] == kBanned) {
    std::copy(raw.begin(), raw.end(), logits.begin());
    ban_others(row.allowed, logits);
    const uint32_t allowed_best = argmax(logits);
    return logits[allowed_best] == kBanned ? argmax(raw) : allowed_best;
  }
  if (row.temperature == 0) return best;
  const TokenFilter filter(row, logits, best, workspace.weights, workspace.candidates);
  return filter.pick(uniform_draw(row.seed, row.choice_index, row.position));
}

// Of finite logits.
void score(std::span<const float> logits, uint32_t num_top, std::vector<uint32_t>& candidates,
           SampledToken& result) {
  const double offset = largest(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - offset);
  const double log_sum = std::log(sum);
  const auto logprob = [&](uint32_t id) { return static_cast<float>(logits[id] - offset - log_sum); };
  result.logprob = logprob(result.token);
  select_largest(logits, num_top, candidates);
  result.top_tokens = candidates;
  for (const uint32_t id : candidates) result.top_logprobs.push_back(logprob(id));
}

SampledToken sample_row(std::span<const float> logits, const SampleRow& row, SampleWorkspace& workspace) {
  SampledToken result;
  result.is_finite = all_finite(logits);
  if (!result.is_finite) return result;
  result.token = row.scored_token ? *row.scored_token : choose(logits, row, workspace);
  if (row.num_top) score(logits, *row.num_top, workspace.candidates, result);
  return result;
}

}  // namespace

void CpuBackend::do_sample(Tensor logits, std::span<const SampleRow> rows, std::span<SampledToken> results) {
  const auto vocab_size = static_cast<size_t>(logits.size(1));
  sample_workspaces_.resize(static_cast<size_t>(threads_.num_threads()));
  threads_.run(logits.size(0), 1, [&](int64_t first, int64_t last, int thread) {
    SampleWorkspace& workspace = sample_workspaces_[static_cast<size_t>(thread)];
    workspace.logits.resize(vocab_size);
    workspace.weights.resize(vocab_size);
    workspace.candidates.reserve(vocab_size);
    for (int64_t i = first; i < last; ++i) {
      const float* const row = logits.data<const float>() + i * logits.row_stride();
      const auto index = static_cast<size_t>(i);
      results[index] = sample_row({row, vocab_size}, rows[index], workspace);
    }
  });
}

}  // namespace octet::kernels
