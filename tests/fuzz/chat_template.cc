// Chats: whatever a message says, it opens and ends no turn.
#include <algorithm>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/utf8.h"
#include "router/tokenizer/chat_template.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/nano.h"

namespace octet::router {
namespace {

std::vector<TokenId> special_tokens(const std::vector<TokenId>& tokens) {
  std::vector<TokenId> special;
  std::copy_if(tokens.begin(), tokens.end(), std::back_inserter(special), [](TokenId id) {
    return fuzz::nano_tokenizer()->is_special(id) || fuzz::nano_tokenizer()->is_control(id);
  });
  return special;
}

std::string role_of(fuzz::Input& input) {
  constexpr const char* kRoles[] = {"user", "assistant", "system", "tool", "", "<extra_id_1>"};
  return kRoles[input.below(6)];
}

void check(const ChatTemplate& chat_template, std::vector<ChatMessage> messages, ChatOptions options) {
  const auto tokens = chat_template.render(messages, options);
  const auto text = chat_template.render_text(messages, options);
  OCTET_CHECK(tokens.ok() == text.ok(), tokens.status(), " ", text.status());
  if (!tokens.ok()) {
    OCTET_CHECK(absl::IsInvalidArgument(tokens.status()), tokens.status());
    return;
  }
  OCTET_CHECK(fuzz::nano_tokenizer()->decode(*tokens) == *text, *text);
  for (ChatMessage& message : messages) {
    message.content = "x";
    for (std::string& call : message.tool_calls) call = "x";
  }
  for (std::string& tool : options.tools) tool = "x";
  OCTET_CHECK(special_tokens(*chat_template.render(messages, options)) == special_tokens(*tokens), *text);
}

}  // namespace
}  // namespace octet::router

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace octet::router;
  static const ChatTemplate templates[] = {
      ChatTemplate::make(octet::fuzz::nano_tokenizer(), ChatFormat::kNemotron4).value(),
      ChatTemplate::make(octet::fuzz::nano_tokenizer(), ChatFormat::kNemotronMini).value()};
  octet::fuzz::Input input(data, size);  // tools and calls are JSON that was parsed before
  const ChatTemplate& chat_template = templates[input.below(2)];
  ChatOptions options;
  options.end = static_cast<ChatOptions::End>(input.below(3));
  if (input.flag()) options.tools.push_back(octet::replace_invalid_utf8(input.short_text()));
  std::vector<ChatMessage> messages;
  while (!input.empty()) {
    ChatMessage message{.role = role_of(input), .content = std::string(input.short_text())};
    if (input.below(8) == 1) message.tool_calls.push_back(octet::replace_invalid_utf8(input.short_text()));
    messages.push_back(std::move(message));
  }
  check(chat_template, std::move(messages), std::move(options));
  return 0;
}
