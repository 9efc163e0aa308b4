// The prompt format of the Nemotron-4 family (nemotron.md section 2.5), rendered to tokens, so that special
// pieces inside a message stay text and cannot open a turn.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "router/tokenizer/tokenizer.h"

namespace octet::router {

struct ChatMessage {
  std::string role;  // "system", "user", "assistant", "tool"
  std::string content;
  // Calls of tools that an assistant made, each as the JSON text that it wrote.
  std::vector<std::string> tool_calls = {};
};

// What a prompt has beside its messages.
struct ChatOptions {
  enum class End {
    kOpensTurn,  // asks for the next assistant turn
    kClosed,     // nothing after the last message
    kContinues,  // the last message is the assistant's and goes on
  };
  std::vector<std::string> tools = {};  // definitions as JSON texts, for the system turn
  End end = End::kOpensTurn;
  std::string answer_prefix = {};  // what the opened turn begins with
};

enum class ChatFormat {
  kNemotron4,     // the model card of Nemotron-4-340B-Instruct: one newline after a system text
  kNemotronMini,  // Nemotron-Mini-4B-Instruct: contents stripped, two newlines after the system turn, tools
};

class ChatTemplate {
 public:
  // Errors: INVALID_ARGUMENT when the tokenizer lacks <extra_id_0> or <extra_id_1>.
  static absl::StatusOr<ChatTemplate> make(std::shared_ptr<const Tokenizer> tokenizer, ChatFormat format);

  // The prompt; by default it asks for the next assistant turn. Equal to Tokenizer::encode(render_text(...))
  // when no message holds a special piece or U+2581 (see Tokenizer::encode_plain). Errors: INVALID_ARGUMENT
  // naming messages, messages[i].role or messages[i].content: no message, an unknown role, a system message
  // that is not first, tools, tool calls or a tool message in kNemotron4, broken UTF-8; or
  // continue_final_message.
  absl::StatusOr<std::vector<TokenId>> render(const std::vector<ChatMessage>& messages,
                                              const ChatOptions& options = {}) const;
  // The same as text, for people.
  absl::StatusOr<std::string> render_text(const std::vector<ChatMessage>& messages,
                                          const ChatOptions& options = {}) const;

  ChatFormat format() const { return format_; }
  // The token that ends an assistant turn (<extra_id_1>).
  TokenId end_of_turn_id() const { return end_of_turn_id_; }

 private:
  ChatTemplate(std::shared_ptr<const Tokenizer> tokenizer, ChatFormat format, TokenId end_of_turn_id);
  // Views of messages, of options and of string literals.
  std::vector<TextPart> parts_of(const std::vector<ChatMessage>& messages, const ChatOptions& options) const;

  std::shared_ptr<const Tokenizer> tokenizer_;
  ChatFormat format_ = ChatFormat::kNemotron4;
  TokenId end_of_turn_id_ = 0;
};

// "nemotron-4", "nemotron-mini". Errors: INVALID_ARGUMENT with the two names.
absl::StatusOr<ChatFormat> parse_chat_format(std::string_view name);

// The format that a model folder asks for: kNemotronMini when the chat_template in DIR/tokenizer_config.json
// has a tool turn, else kNemotron4 (also without that file: the 340B's folder has none). Errors:
// INVALID_ARGUMENT naming the file: broken JSON, or a chat_template of another family.
absl::StatusOr<ChatFormat> chat_format_of_folder(const std::string& model_dir);

}  // namespace octet::router
