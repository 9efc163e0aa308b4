// The prompts of a run, read from a JSONL file: one JSON object a line, blank lines skipped.
//   {"prompt": "text as it is"}                                    what /v1/completions, PUT /generate and
//   text take
//   {"messages": [{"role": "user", "content": "..."}]}             what chats take; both may be given
//   "expected": "..."      the answer, byte for byte, without the end string; absent: any answer is right
//   "max_tokens": 256      "temperature": 0 (greedy)     "seed": 7     "prompt_tokens": 21 (known length, for
//   --api nemo)
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace octet::bench {

struct ChatMessage {
  std::string role;
  std::string content;
};

struct Prompt {
  uint64_t line = 0;  // in the file, from 1
  std::optional<std::string> text;
  std::vector<ChatMessage> messages;  // empty: no chat
  std::optional<std::string> expected;
  uint32_t max_tokens = 256;
  double temperature = 0;
  std::optional<uint64_t> seed;
  std::optional<uint32_t> prompt_tokens;
};

inline constexpr uint64_t kMaxPrompts = 1'000'000;
inline constexpr uint64_t kMaxLineBytes = 4 << 20;

// Errors: INVALID_ARGUMENT naming the key and what it must be; an unknown key is refused.
absl::StatusOr<Prompt> parse_prompt(absl::string_view line);

// At least one prompt. Errors: NOT_FOUND for a file that cannot be read; INVALID_ARGUMENT naming file and
// line.
absl::StatusOr<std::vector<Prompt>> read_prompts(const std::string& path);

}  // namespace octet::bench
