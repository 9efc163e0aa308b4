// Which chat format a Hugging Face model folder asks for. What the formats look like is in chat_template.cc.
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "router/tokenizer/chat_template.h"

namespace octet::router {
namespace {

namespace json = boost::json;

constexpr uintmax_t kMaxConfigBytes = 16 << 20;

absl::StatusOr<std::string> read_config(const std::filesystem::path& path) {
  std::error_code error;
  const uintmax_t num_bytes = std::filesystem::file_size(path, error);
  if (error || num_bytes > kMaxConfigBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path.string(), ": must be a file of at most ", kMaxConfigBytes, " bytes"));
  }
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (file.bad() || text.size() != num_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(path.string(), ": cannot be read"));
  }
  return text;
}

// chat_template is a string, or a list of {"name", "template"} in which "default" is the one for chats.
const json::string* find_template(const json::value& config) {
  const json::object* object = config.if_object();
  const json::value* value = object != nullptr ? object->if_contains("chat_template") : nullptr;
  if (value == nullptr) return nullptr;
  if (value->is_string()) return value->if_string();
  if (!value->is_array()) return nullptr;
  for (const json::value& entry : value->get_array()) {
    const json::object* named = entry.if_object();
    if (named == nullptr) continue;
    const json::value* name = named->if_contains("name");
    const json::value* text = named->if_contains("template");
    if (name != nullptr && *name == json::value("default") && text != nullptr) return text->if_string();
  }
  return nullptr;
}

}  // namespace

absl::StatusOr<ChatFormat> parse_chat_format(std::string_view name) {
  if (name == "nemotron-4") return ChatFormat::kNemotron4;
  if (name == "nemotron-mini") return ChatFormat::kNemotronMini;
  return absl::InvalidArgumentError(absl::StrCat("chat format must be nemotron-4 or nemotron-mini; is \"",
                                                 absl::CHexEscape(absl_view(name.substr(0, 64))), "\""));
}

absl::StatusOr<ChatFormat> chat_format_of_folder(const std::string& model_dir) {
  const std::filesystem::path path = std::filesystem::path(model_dir) / "tokenizer_config.json";
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return ChatFormat::kNemotron4;
  const auto text = read_config(path);
  if (!text.ok()) return text.status();
  json::error_code parse_error;
  const json::value config = json::parse(*text, parse_error);
  if (parse_error)
    return absl::InvalidArgumentError(absl::StrCat(path.string(), ": ", parse_error.message()));
  const json::string* chat_template = find_template(config);
  if (chat_template == nullptr) return ChatFormat::kNemotron4;
  const std::string_view format(chat_template->data(), chat_template->size());
  if (format.find("<extra_id_1>") == std::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat(
        path.string(), ": chat_template has no <extra_id_1>, so it is not one of the Nemotron-4 family"));
  }
  const bool has_tool_turn = format.find("<extra_id_1>Tool") != std::string_view::npos;
  return has_tool_turn ? ChatFormat::kNemotronMini : ChatFormat::kNemotron4;
}

}  // namespace octet::router
