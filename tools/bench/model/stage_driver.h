// Drives one stage that holds a whole model by hand-made batch plans: the model's speed without scheduler,
// wire and router.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/stage/stage.h"

namespace octet::bench {

// What generate() runs: sequences of the same length beside each other.
struct GenerateCase {
  uint32_t num_sequences = 1;
  uint32_t num_prompt_tokens = 1;  // of each
  uint32_t num_steps = 0;          // decodes of each, after its prompt
};

struct GenerateTimes {
  double prefill_seconds = 0;  // until every prompt's first output token is sampled
  double decode_seconds = 0;
  double least_step_seconds = 0;  // of one decode of all sequences; 0 without any
};

class StageDriver {
 public:
  // The stage is the only one of its pipeline, and outlives the driver.
  explicit StageDriver(worker::Stage& stage) : stage_(stage) {}

  // Prompts are of token_at(); output is sampled greedily. Errors: INVALID_ARGUMENT for more tokens than the
  // KV cache or a sequence may have; what the stage reports.
  absl::StatusOr<GenerateTimes> generate(const GenerateCase& run);

  // The log-probabilities of every token of the vocabulary after each of the first num_rows tokens of a
  // prompt, [num_rows, vocab_size]. Errors as generate().
  absl::StatusOr<std::vector<float>> logprobs(uint32_t num_rows);

 private:
  struct Sequence;

  absl::Status start(uint32_t num_sequences, uint32_t num_tokens);
  worker::SequenceChunk next_chunk(Sequence& sequence, uint32_t num_rows);
  absl::StatusOr<worker::StepResult> execute(worker::BatchPlan plan);
  absl::Status prefill(std::vector<Sequence>& sequences, uint32_t num_prompt_tokens);
  absl::Status decode(std::vector<Sequence>& sequences);

  worker::Stage& stage_;
  uint64_t epoch_ = 0;
  uint64_t step_ = 0;
  worker::BlockId num_blocks_ = 0;  // that sequences of this epoch have
};

// The token of a prompt at a position: any but special ones, the same as in peers/cases.py.
worker::TokenId token_at(uint64_t sequence, uint64_t position, uint32_t vocab_size);

}  // namespace octet::bench
