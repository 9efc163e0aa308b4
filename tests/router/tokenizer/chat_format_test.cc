#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "router/tokenizer/chat_template.h"
#include "tests/router/tokenizer/nano_tokenizer.h"

namespace octet::router {
namespace {

absl::StatusOr<ChatFormat> format_with_config(const std::string& config) {
  const std::filesystem::path path = temporary_file("tokenizer_config.json", config);
  auto format = chat_format_of_folder(path.parent_path());
  if (!format.ok()) {
    EXPECT_THAT(std::string(format.status().message()), testing::HasSubstr(path.string()));
  }
  return format;
}

constexpr const char* kMiniTemplate =
    R"("{{ '<extra_id_0>System' }}{% if m.role == 'tool' %}{{ '<extra_id_1>Tool\n' }}{% endif %}{{ '<extra_id_1>User\n' }}")";

TEST(ChatFormat, ParsesItsNames) {
  EXPECT_EQ(parse_chat_format("nemotron-4").value(), ChatFormat::kNemotron4);
  EXPECT_EQ(parse_chat_format("nemotron-mini").value(), ChatFormat::kNemotronMini);
  for (const std::string bad : {"", "Nemotron-4", "chatml", "nemotron-4 "}) {
    const auto format = parse_chat_format(bad);
    EXPECT_EQ(format.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(format.status().message()),
                testing::HasSubstr("nemotron-4 or nemotron-mini; is \"" + bad));
  }
}

TEST(ChatFormat, AFolderWithoutATemplateHasTheCardsFormat) {
  EXPECT_EQ(chat_format_of_folder("deploy/nano").value(), ChatFormat::kNemotron4);
  EXPECT_EQ(chat_format_of_folder("no/such/folder").value(), ChatFormat::kNemotron4);
  EXPECT_EQ(format_with_config("{}").value(), ChatFormat::kNemotron4);
  EXPECT_EQ(format_with_config(R"({"chat_template": null})").value(), ChatFormat::kNemotron4);
  EXPECT_EQ(format_with_config("[]").value(), ChatFormat::kNemotron4);
}

TEST(ChatFormat, ATemplateWithToolTurnsIsTheMinis) {
  EXPECT_EQ(format_with_config(std::string(R"({"chat_template": )") + kMiniTemplate + "}").value(),
            ChatFormat::kNemotronMini);
  EXPECT_EQ(format_with_config(std::string(R"({"chat_template": [{"name": "rag", "template": "x"},
                {"name": "default", "template": )") +
                               kMiniTemplate + "}]}")
                .value(),
            ChatFormat::kNemotronMini);
}

TEST(ChatFormat, ATemplateWithTurnsOnlyIsTheCards) {
  EXPECT_EQ(format_with_config(R"({"chat_template": "{{ '<extra_id_1>User\n' + content }}"})").value(),
            ChatFormat::kNemotron4);
}

TEST(ChatFormat, RefusesOtherTemplatesAndBrokenFiles) {
  EXPECT_FALSE(format_with_config(R"({"chat_template": "<|im_start|>user"})").ok());
  EXPECT_FALSE(format_with_config("{").ok());
  EXPECT_FALSE(format_with_config("").ok());
}

}  // namespace
}  // namespace octet::router
