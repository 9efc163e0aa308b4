#include "tests/router/request/request_testing.h"

#include <memory>

namespace octet::router {

ValidationContext nano_context() {
  static const std::shared_ptr<const Tokenizer> tokenizer =
      Tokenizer::load("deploy/nano/tokenizer.model").value();
  static const ChatTemplate chat_template = ChatTemplate::make(tokenizer, ChatFormat::kNemotron4).value();
  ValidationContext context;
  context.tokenizer = tokenizer;
  context.chat_template = &chat_template;
  context.model = {.name = "nano", .max_model_len = 64, .vocab_size = 1600, .backend = "cpu"};
  return context;
}

RequestDraft draft_of(const std::string& prompt) {
  RequestDraft draft;
  draft.prompt = prompt;
  return draft;
}

}  // namespace octet::router
