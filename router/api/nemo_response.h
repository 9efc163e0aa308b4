// The body of NeMo's answer: compact JSON with sorted keys, ASCII only, and a line break.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "router/tokenizer/tokenizer.h"

namespace octet::router {

// One sentence as it came out.
struct NemoSentence {
  std::string prompt;            // as the client sent it
  std::vector<TokenId> tokens;   // prompt and output, end token included
  size_t num_prompt_tokens = 0;  // of these
  std::vector<double> logprobs;  // [tokens.size() - 1] when asked for: of every token after the first
};

// sentences: prompt and text. Rows are filled with end-of-sequence to the length of the longest, as NeMo's
// batch is; NeMo's logprob of such a fill token is what the model would have said, here it is 0, the
// logarithm of certainty. offsets count characters of pieces; control pieces count none.
std::string nemo_answer(const std::vector<NemoSentence>& sentences,
                        const std::shared_ptr<const Tokenizer>& tokenizer, bool with_logprobs);

// A refusal of a field: the text as a JSON string. Any other failure: {"message": "..."}.
std::string nemo_refusal(std::string_view message);
std::string nemo_failure(std::string_view message);

}  // namespace octet::router
