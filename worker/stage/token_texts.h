// What the tokens of a model are as text, from the tokenizer.model of its folder.
#pragma once

#include <cstdint>
#include <string>

#include "worker/sampling/constraints.h"

namespace octet::worker {

// Constraints that refuse every sequence, and say why, when the folder has no tokenizer.model that can be
// used. Tokens that it has no piece for are never allowed, nor are pieces that are no text: control, unknown
// and special ones.
Constraints read_constraints(const std::string& model_dir, uint32_t vocab_size);

}  // namespace octet::worker
