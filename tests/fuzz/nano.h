// The nano model's tokenizer and chat templates, from deploy/nano: targets run in the source tree's root.
#pragma once

#include <memory>

#include "router/request/validated_request.h"

namespace octet::fuzz {

inline std::shared_ptr<const router::Tokenizer> nano_tokenizer() {
  static const std::shared_ptr<const router::Tokenizer> tokenizer =
      router::Tokenizer::load("deploy/nano/tokenizer.model").value();
  return tokenizer;
}

// A small context, so that short inputs reach its limits.
inline const router::ValidationContext& nano_context() {
  static const router::ChatTemplate chat_template =
      router::ChatTemplate::make(nano_tokenizer(), router::ChatFormat::kNemotronMini).value();
  static const router::ValidationContext context{
      .tokenizer = nano_tokenizer(),
      .chat_template = &chat_template,
      .model = {.name = "nano", .max_model_len = 64, .vocab_size = 1600, .backend = "cpu"},
      .limits = {}};
  return context;
}

// Whatever was asked for, it is within the limits.
void check_validated(const absl::StatusOr<router::ValidatedRequest>& request);

}  // namespace octet::fuzz
