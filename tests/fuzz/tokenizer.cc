// Texts to tokens and back, and tokens to text at once or one at a time.
#include <algorithm>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/utf8.h"
#include "router/tokenizer/detokenizer.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/nano.h"

namespace octet::router {
namespace {

void encode(const std::string& text) {
  const Tokenizer& tokenizer = *fuzz::nano_tokenizer();
  const std::vector<TokenId> plain = tokenizer.encode_plain(text);
  OCTET_CHECK(tokenizer.decode(plain) == text, text);
  OCTET_CHECK(std::none_of(plain.begin(), plain.end(),
                           [&](TokenId id) { return tokenizer.is_special(id) || tokenizer.is_control(id); }),
              text);
  OCTET_CHECK(plain.size() >= text.size() / tokenizer.max_piece_bytes(), plain.size());
  for (const auto& tokens : {tokenizer.encode(text), tokenizer.encode_continuation(text)}) {
    OCTET_CHECK(
        std::none_of(tokens.begin(), tokens.end(), [&](TokenId id) { return tokenizer.is_control(id); }),
        text);
  }
}

// The first num_prompt tokens are the prompt.
void decode(const std::vector<TokenId>& ids, size_t num_prompt) {
  const auto tokenizer = fuzz::nano_tokenizer();
  const std::vector<TokenId> prompt(ids.begin(), ids.begin() + num_prompt);
  Detokenizer of_prompt(tokenizer, /*after_prompt=*/false);
  std::string prompt_text;
  for (const TokenId id : prompt) prompt_text += of_prompt.add(id);
  if (of_prompt.num_pending_bytes() > 0) return;  // the exception
  Detokenizer of_output = Detokenizer::after(tokenizer, prompt);
  std::string text = prompt_text;
  for (size_t i = num_prompt; i < ids.size(); ++i) {
    const std::string added = of_output.add(ids[i]);
    OCTET_CHECK(is_valid_utf8(added));
    text += added;
  }
  text += of_output.finish();
  OCTET_CHECK(text == tokenizer->decode(ids), text);
}

}  // namespace
}  // namespace octet::router

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace octet::router;
  octet::fuzz::Input input(data, size);
  if (input.flag()) {
    encode(octet::replace_invalid_utf8(input.rest()));
    return 0;
  }
  const size_t num_prompt = input.byte();
  std::vector<TokenId> ids;
  while (!input.empty()) {
    const uint32_t high = input.byte();
    ids.push_back((high << 8 | input.byte()) % 1700);  // some beyond the vocabulary
  }
  decode(ids, std::min(num_prompt, ids.size()));
  return 0;
}
