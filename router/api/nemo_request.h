// The body of NeMo's PUT /generate (text_generation_server.py of NeMo 2.0.0rc0, container 24.05), checked in
// NeMo's order and with NeMo's texts. Deviations: every refusal is a 400 (NeMo: 200), an unknown key is
// refused (NeMo ignores it), a string for sentences is refused (NeMo takes it for a list of characters), and
// so is all_probs = true.
#pragma once

#include <boost/json/fwd.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "router/request/request_draft.h"
#include "router/tokenizer/tokenizer.h"

namespace octet::router {

struct NemoRequest {
  std::vector<std::string> sentences;  // 1 to 128
  int64_t tokens_to_generate = 64;
  double temperature = 1.0;
  bool add_bos = false;
  bool greedy = false;
  int64_t top_k = 0;   // 0: off
  double top_p = 0.9;  // 0: off
  double repetition_penalty = 1.2;
  std::vector<std::string> end_strings = {"<|endoftext|>"};
  int64_t min_tokens_to_generate = 0;
  bool compute_logprob = false;
  std::optional<uint64_t> random_seed;
};

// Errors: INVALID_ARGUMENT whose message is the whole answer.
absl::StatusOr<NemoRequest> parse_nemo_request(const boost::json::value& body);

// What ends a sentence. As NeMo resolves end_strings: one that is a single token after "<extra_id_1>" is that
// token, any other is looked for at the end of the text after every token. End of sequence always ends one.
struct NemoEnd {
  std::vector<TokenId> tokens;
  std::vector<std::string> texts;
};
NemoEnd resolve_end_strings(const std::vector<std::string>& end_strings, const Tokenizer& tokenizer);

// The draft for one sentence of the request, but for its prompt and seed.
RequestDraft nemo_draft(const NemoRequest& request, const NemoEnd& end);

}  // namespace octet::router
