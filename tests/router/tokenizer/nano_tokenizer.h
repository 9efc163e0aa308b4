// The nano model's tokenizer, variants of it with other flags, and random texts and tokens for property
// tests.
#pragma once

#include <boost/json/fwd.hpp>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "router/tokenizer/tokenizer.h"

namespace octet::router {

inline constexpr const char* kNanoTokenizer = "deploy/nano/tokenizer.model";

// Throws when the file is missing or broken, which fails the test that asked for it.
std::shared_ptr<const Tokenizer> nano_tokenizer();

struct TokenizerFlags {
  bool add_dummy_prefix = false;
  bool remove_extra_whitespaces = false;
  // Special pieces to rename; the new name must have the same number of bytes.
  std::vector<std::pair<std::string, std::string>> renames;
  // Normal pieces to make unused: text does not become them but what they were merged from.
  std::vector<std::string> unused;
};
// The nano tokenizer's model file with these flags instead of its own (all off).
std::string nano_model_bytes(const TokenizerFlags& flags);
// The same, loaded.
std::shared_ptr<const Tokenizer> nano_tokenizer_with(const TokenizerFlags& flags);
// All four settings of the two flags.
std::vector<TokenizerFlags> all_flag_settings();

// A new file with these bytes in the test's temporary folder; returns its path.
std::string temporary_file(const std::string& name, const std::string& bytes);

boost::json::value parse_json_file(const std::string& path);

// Text made of pieces that matter to the tokenizer: words, spaces, special pieces and parts of them,
// characters of 1 to 4 bytes, U+2581.
std::string random_text(std::mt19937& random);
// The same without special pieces and U+2581.
std::string random_ordinary_text(std::mt19937& random);

}  // namespace octet::router
