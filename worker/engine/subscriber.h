// Where the engine's output goes: one subscriber is one router's stream.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "worker/lead/scheduler.h"

namespace octet::worker {

// News of one sequence for its router.
struct SequenceNews {
  uint64_t router_sequence_id = 0;           // as the router chose it
  std::vector<ScoredToken> tokens;           // new output tokens
  std::vector<ScoredToken> prompt_logprobs;  // of prompt tokens after the first, in order
  uint32_t num_cached_tokens = 0;      // of the prompt, found in the prefix cache; in the first news only
  std::optional<FinishReason> finish;  // nothing follows
  absl::Status failure;                // not OK: refused or failed; nothing follows
};

class Subscriber {
 public:
  virtual ~Subscriber() = default;
  // All that a step means for this router. Called on the engine's thread; must not block. False when the
  // router is gone or reads too slowly: the engine forgets it and cancels its sequences.
  virtual bool deliver(std::vector<SequenceNews> news) = 0;
  // The engine ends the stream, for instance because the router broke the protocol.
  virtual void end(const absl::Status& status) = 0;
};

}  // namespace octet::worker
