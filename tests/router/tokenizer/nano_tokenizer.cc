#include "tests/router/tokenizer/nano_tokenizer.h"

#include <unistd.h>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <stdexcept>
#include <string_view>

namespace octet::router {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

constexpr std::string_view kOrdinary[] = {
    "hello",  " world", " ",    "  ",     "\n",       "\t",           "a",
    "aaaa",   "The",    " the", "<",      ">",        "<extra_id_",   "extra_id_1>",
    "<extra", "_1>",    "1",    "23",     "\u00e9",   "\u65e5\u672c", "\U0001F642",
    "\u200d", "</s>",   "<s>",  "<0x0A>", "System\n", "User",         std::string_view("\0", 1)};
constexpr std::string_view kSpecial[] = {"<extra_id_0>", "<extra_id_1>", "<extra_id_7>", "\u2581",
                                         "\u2581hello"};

std::string join_random(std::mt19937& random, std::span<const std::string_view> first,
                        std::span<const std::string_view> second) {
  std::string text;
  const size_t num_pieces = random() % 12;
  for (size_t i = 0; i < num_pieces; ++i) {
    const size_t pick = random() % (first.size() + second.size());
    text.append(pick < first.size() ? first[pick] : second[pick - first.size()]);
  }
  return text;
}

}  // namespace

std::shared_ptr<const Tokenizer> nano_tokenizer() {
  static const std::shared_ptr<const Tokenizer> tokenizer = Tokenizer::load(kNanoTokenizer).value();
  return tokenizer;
}

namespace {

// Adds field 3 (type) to the piece's message: 0A (piece) length { 0A length text, 15 score }.
void make_unused(const std::string& text, std::string& model) {
  const std::string piece = "\x0A" + std::string(1, static_cast<char>(text.size())) + text + "\x15";
  const size_t at = model.find(piece);
  if (at == std::string::npos) throw std::runtime_error("no normal piece " + text);
  model.insert(at + piece.size() + sizeof(float), "\x18\x05");
  model[at - 1] = static_cast<char>(model[at - 1] + 2);
}

}  // namespace

std::string nano_model_bytes(const TokenizerFlags& flags) {
  std::string bytes = read_file(kNanoTokenizer);
  // The file ends with the normaliser's fields 3 (add_dummy_prefix) and 4 (remove_extra_whitespaces).
  const std::string_view end("\x18\x00\x20\x00", 4);
  if (!bytes.ends_with(end)) throw std::runtime_error("the nano tokenizer does not end as expected");
  bytes[bytes.size() - 3] = flags.add_dummy_prefix ? 1 : 0;
  bytes[bytes.size() - 1] = flags.remove_extra_whitespaces ? 1 : 0;
  for (const auto& [from, to] : flags.renames) {
    const size_t at = bytes.find(from);
    if (at == std::string::npos || from.size() != to.size())
      throw std::runtime_error("cannot rename " + from);
    bytes.replace(at, from.size(), to);
  }
  for (const std::string& text : flags.unused) make_unused(text, bytes);
  return bytes;
}

std::shared_ptr<const Tokenizer> nano_tokenizer_with(const TokenizerFlags& flags) {
  return Tokenizer::load(temporary_file("tokenizer.model", nano_model_bytes(flags))).value();
}

std::vector<TokenizerFlags> all_flag_settings() {
  std::vector<TokenizerFlags> all;
  for (const bool dummy_prefix : {false, true}) {
    for (const bool remove_extra : {false, true}) {
      all.push_back({.add_dummy_prefix = dummy_prefix,
                     .remove_extra_whitespaces = remove_extra,
                     .renames = {},
                     .unused = {}});
    }
  }
  return all;
}

namespace {

// A folder of this process that goes when the process ends.
class TemporaryFolder {
 public:
  TemporaryFolder() { std::filesystem::create_directories(path_); }
  ~TemporaryFolder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  // A new folder inside.
  std::filesystem::path subfolder() {
    std::filesystem::path path = path_ / std::to_string(num_subfolders_++);
    std::filesystem::create_directories(path);
    return path;
  }

 private:
  const std::filesystem::path path_ =
      std::filesystem::temp_directory_path() / ("octet_tokenizer_test." + std::to_string(getpid()));
  size_t num_subfolders_ = 0;
};

}  // namespace

std::string temporary_file(const std::string& name, const std::string& bytes) {
  static TemporaryFolder folder;
  const std::filesystem::path path = folder.subfolder() / name;
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

boost::json::value parse_json_file(const std::string& path) {
  return boost::json::parse(read_file(path));
}

std::string random_text(std::mt19937& random) {
  return join_random(random, kOrdinary, kSpecial);
}
std::string random_ordinary_text(std::mt19937& random) {
  while (true) {
    std::string text = join_random(random, kOrdinary, {});
    // "<extra_id_" + "1>" also makes a special piece.
    if (text.find("<extra_id_1>") == std::string::npos) return text;
  }
}

}  // namespace octet::router
