// Between generation.proto and the router's own types; no gRPC, no state.
#pragma once

#include <string>

#include "octet/v1/generation.pb.h"
#include "router/generation/generation.h"
#include "router/request/request_draft.h"
#include "router/tokenizer/tokenizer.h"

namespace octet::router {

// What the message says; ranges are validate()'s to check.
RequestDraft to_draft(const v1::GenerateRequest& request);
// A generation of one token, of which only prompt_logprobs matter.
RequestDraft to_draft(const v1::ScoreRequest& request);
Prompt to_prompt(const v1::TokenizeRequest& request);

v1::FinishReason to_proto(FinishReason reason);
void fill(const TokenLogprob& token, const Tokenizer& tokenizer, v1::TokenLogprob& out);
void fill(const GenerationUsage& usage, v1::Usage& out);
void fill(Piece piece, const Tokenizer& tokenizer, v1::GenerateResponse& out);

// The token as text: what it adds in the middle of a text, broken bytes replaced; a control token's name.
std::string token_text(TokenId token, const Tokenizer& tokenizer);

}  // namespace octet::router
