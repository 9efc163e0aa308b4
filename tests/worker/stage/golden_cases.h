// Reads tests/golden/greedy.json.
#pragma once

#include <string>
#include <vector>

#include "worker/batch/tokens.h"

namespace octet::worker {

struct GoldenCase {
  std::vector<TokenId> prompt;
  std::vector<TokenId> output;
  std::vector<double> logprobs;           // of every token after the first, prompt and output
  std::vector<TokenId> first_top_tokens;  // best first, at the first output position
  std::vector<double> first_top_logprobs;
};

std::vector<GoldenCase> read_golden_cases();

}  // namespace octet::worker
