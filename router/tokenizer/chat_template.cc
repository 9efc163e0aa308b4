#include "router/tokenizer/chat_template.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/utf8.h"

namespace octet::router {
namespace {

constexpr std::string_view kSystemTurn = "<extra_id_0>";
constexpr std::string_view kTurn = "<extra_id_1>";
constexpr size_t kMaxShownRoleBytes = 32;

enum class Role { kSystem, kUser, kAssistant, kTool };

struct RoleName {
  std::string_view name;
  Role role;
  std::string_view opening;  // of the turn
};
constexpr std::array<RoleName, 4> kRoles = {{
    {"system", Role::kSystem, "<extra_id_0>System"},
    {"user", Role::kUser, "<extra_id_1>User\n"},
    {"assistant", Role::kAssistant, "<extra_id_1>Assistant\n"},
    {"tool", Role::kTool, "<extra_id_1>Tool\n"},
}};

const RoleName* find_role(std::string_view name) {
  const auto found =
      std::find_if(kRoles.begin(), kRoles.end(), [&](const RoleName& r) { return r.name == name; });
  return found == kRoles.end() ? nullptr : &*found;
}

// Python's str.strip(), which the Mini's template calls: every character for which str.isspace() is true.
constexpr std::array<std::string_view, 29> kStripped = {
    "\t",     "\n",     "\v",     "\f",     "\r",     "\x1C",   "\x1D",   "\x1E",   "\x1F",   " ",
    "\u0085", "\u00A0", "\u1680", "\u2000", "\u2001", "\u2002", "\u2003", "\u2004", "\u2005", "\u2006",
    "\u2007", "\u2008", "\u2009", "\u200A", "\u2028", "\u2029", "\u202F", "\u205F", "\u3000"};

std::string_view strip(std::string_view text) {
  const auto is_at = [](bool (*at)(std::string_view, std::string_view), std::string_view where) {
    const auto found =
        std::find_if(kStripped.begin(), kStripped.end(), [&](std::string_view s) { return at(where, s); });
    return found == kStripped.end() ? size_t{0} : found->size();
  };
  const auto starts_with = [](std::string_view where, std::string_view s) { return where.starts_with(s); };
  const auto ends_with = [](std::string_view where, std::string_view s) { return where.ends_with(s); };
  while (const size_t num_bytes = is_at(starts_with, text)) text.remove_prefix(num_bytes);
  while (const size_t num_bytes = is_at(ends_with, text)) text.remove_suffix(num_bytes);
  return text;
}

absl::Status check_role(const ChatMessage& message, size_t index, ChatFormat format) {
  const std::string field = absl::StrCat("messages[", index, "].role");
  const RoleName* role = find_role(message.role);
  if (role == nullptr) {
    const std::string shown = absl::CHexEscape(message.role.substr(0, kMaxShownRoleBytes));
    return invalid_field(field, absl::StrCat("must be system, user, assistant or tool; is \"", shown, "\""));
  }
  if (role->role == Role::kSystem && index > 0) {
    return invalid_field(field,
                         absl::StrCat("a system message must be the first; this one has index ", index));
  }
  if (role->role == Role::kTool && format == ChatFormat::kNemotron4) {
    return invalid_field(field,
                         "this model's chat format has no tool messages; only system, user and assistant");
  }
  return absl::OkStatus();
}

absl::Status check_end(const std::vector<ChatMessage>& messages, const ChatOptions& options) {
  if (options.end != ChatOptions::End::kContinues) return absl::OkStatus();
  if (find_role(messages.back().role)->role == Role::kAssistant) return absl::OkStatus();
  return invalid_field("continue_final_message", "needs a last message of the assistant");
}

absl::Status check(const std::vector<ChatMessage>& messages, const ChatOptions& options, ChatFormat format) {
  if (messages.empty()) return invalid_field("messages", "must hold at least 1 message; holds 0");
  if (format == ChatFormat::kNemotron4 && !options.tools.empty()) {
    return invalid_field("tools", "this model's chat format, nemotron-4, has none; nemotron-mini has");
  }
  for (size_t i = 0; i < messages.size(); ++i) {
    absl::Status role = check_role(messages[i], i, format);
    if (!role.ok()) return role;
    if (!is_valid_utf8(messages[i].content)) {
      return invalid_field(absl::StrCat("messages[", i, "].content"), "must be valid UTF-8");
    }
    if (format == ChatFormat::kNemotron4 && !messages[i].tool_calls.empty()) {
      return invalid_field(absl::StrCat("messages[", i, "].tool_calls"),
                           "this model's chat format, nemotron-4, has no tools; nemotron-mini has");
    }
  }
  return check_end(messages, options);
}

// A prompt's text as it is put together.
class Parts {
 public:
  explicit Parts(ChatFormat format) : format_(format) {}

  void add_template(std::string_view text) { parts_.push_back({text, TextPart::Kind::kTemplate}); }
  void add_plain(std::string_view text) { parts_.push_back({text, TextPart::Kind::kPlain}); }

  // A call stands as the model writes it, so that a prompt with an old answer reads like the answer.
  void add_message(const ChatMessage& message) {
    const std::string_view content = message.content;
    add_plain(format_ == ChatFormat::kNemotronMini ? strip(content) : content);
    bool follows = !content.empty();
    for (const std::string& call : message.tool_calls) {
      add_template(follows ? " <toolcall> " : "<toolcall> ");
      add_plain(call);
      add_template(" </toolcall>");
      follows = true;
    }
  }

  // system may be null.
  void add_system_turn(const ChatMessage* system, const std::vector<std::string>& tools) {
    add_template("<extra_id_0>System");
    if (system != nullptr) {
      add_template("\n");
      add_message(*system);
    }
    if (system != nullptr && !tools.empty()) add_template("\n");
    for (const std::string& tool : tools) {
      add_template("\n<tool> ");
      add_plain(tool);
      add_template(" </tool>");
    }
    // Without a system text both formats give "System\n\n".
    add_template(format_ == ChatFormat::kNemotron4 && system != nullptr ? "\n" : "\n\n");
  }

  std::vector<TextPart> take() { return std::move(parts_); }

 private:
  const ChatFormat format_;
  std::vector<TextPart> parts_;
};

}  // namespace

absl::StatusOr<ChatTemplate> ChatTemplate::make(std::shared_ptr<const Tokenizer> tokenizer,
                                                ChatFormat format) {
  for (const std::string_view piece : {kSystemTurn, kTurn}) {
    const auto id = tokenizer->piece_id(piece);
    if (!id || !tokenizer->is_special(*id)) {
      return absl::InvalidArgumentError(absl::StrCat("the tokenizer has no special piece ", absl_view(piece),
                                                     ", which the chat format needs"));
    }
  }
  const TokenId end_of_turn_id = *tokenizer->piece_id(kTurn);
  return ChatTemplate(std::move(tokenizer), format, end_of_turn_id);
}

ChatTemplate::ChatTemplate(std::shared_ptr<const Tokenizer> tokenizer, ChatFormat format,
                           TokenId end_of_turn_id)
    : tokenizer_(std::move(tokenizer)), format_(format), end_of_turn_id_(end_of_turn_id) {}

std::vector<TextPart> ChatTemplate::parts_of(const std::vector<ChatMessage>& messages,
                                             const ChatOptions& options) const {
  Parts parts(format_);
  const bool has_system = find_role(messages.front().role)->role == Role::kSystem;
  parts.add_system_turn(has_system ? &messages.front() : nullptr, options.tools);
  for (size_t i = has_system ? 1 : 0; i < messages.size(); ++i) {
    parts.add_template(find_role(messages[i].role)->opening);
    parts.add_message(messages[i]);
    const bool is_last = i + 1 == messages.size();
    if (!is_last || options.end != ChatOptions::End::kContinues) parts.add_template("\n");
  }
  if (options.end == ChatOptions::End::kOpensTurn) {
    parts.add_template("<extra_id_1>Assistant\n");
    parts.add_plain(options.answer_prefix);
  }
  return parts.take();
}

absl::StatusOr<std::vector<TokenId>> ChatTemplate::render(const std::vector<ChatMessage>& messages,
                                                          const ChatOptions& options) const {
  const absl::Status checked = check(messages, options, format_);
  if (!checked.ok()) return checked;
  return tokenizer_->encode_parts(parts_of(messages, options));
}

absl::StatusOr<std::string> ChatTemplate::render_text(const std::vector<ChatMessage>& messages,
                                                      const ChatOptions& options) const {
  const absl::Status checked = check(messages, options, format_);
  if (!checked.ok()) return checked;
  std::string text;
  for (const TextPart& part : parts_of(messages, options)) text.append(part.text);
  return text;
}

}  // namespace octet::router
