// What the conversions share: parts of messages, and the checks of their fields.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/sample_row.h"
#include "octet/v1/pipeline.pb.h"
#include "worker/batch/sampling_params.h"
#include "worker/batch/tokens.h"
#include "worker/rpc/convert.h"

namespace octet::worker {

using Uint32s = google::protobuf::RepeatedField<uint32_t>;

inline constexpr uint32_t kMaxTopLogprobs = kernels::kMaxTopTokens;
inline constexpr int kMaxStopTokens = 1024;

// INVALID_ARGUMENT naming the field, the limit and the given number.
absl::Status too_many(const std::string& field, int64_t limit, int64_t given);
absl::Status above(const std::string& field, uint64_t limit, uint64_t given);
// At most max_tokens, each in the vocabulary.
absl::Status check_tokens(const std::string& field, const Uint32s& tokens, int64_t max_tokens,
                          uint32_t vocab_size);

std::vector<uint32_t> to_vector(const Uint32s& values);
void append(const std::vector<uint32_t>& values, Uint32s* to);

absl::StatusOr<SamplingParams> from_proto(const v1::SequenceSampling& message, const WireLimits& limits);
void to_proto(const SamplingParams& sampling, v1::SequenceSampling* message);

absl::StatusOr<ScoredToken> from_proto(const v1::ScoredToken& message, const WireLimits& limits);
void to_proto(const ScoredToken& token, v1::ScoredToken* message);

}  // namespace octet::worker
