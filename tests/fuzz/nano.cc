#include "tests/fuzz/nano.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace octet::fuzz {

void check_validated(const absl::StatusOr<router::ValidatedRequest>& request) {
  const router::ModelInfo& model = nano_context().model;
  if (!request.ok()) {
    OCTET_CHECK(absl::IsInvalidArgument(request.status()) || absl::IsNotFound(request.status()),
                request.status());
    OCTET_CHECK(request.status().message().size() < 1000, request.status());
    return;
  }
  OCTET_CHECK(!request->prompt.empty());
  OCTET_CHECK(request->max_tokens >= 1);
  OCTET_CHECK(request->prompt.size() + request->max_tokens <= model.max_model_len, request->prompt.size());
  OCTET_CHECK(request->num_choices >= 1 && request->num_choices <= nano_context().limits.max_choices);
  OCTET_CHECK(std::all_of(request->prompt.begin(), request->prompt.end(),
                          [&](router::TokenId token) { return token < model.vocab_size; }));
  const router::Sampling& sampling = request->sampling;
  OCTET_CHECK(sampling.temperature >= 0 && sampling.temperature <= 100, sampling.temperature);
  OCTET_CHECK(sampling.top_p > 0 && sampling.top_p <= 1, sampling.top_p);
  OCTET_CHECK(std::isfinite(sampling.repetition_penalty) && sampling.repetition_penalty > 0,
              sampling.repetition_penalty);
}

}  // namespace octet::fuzz
