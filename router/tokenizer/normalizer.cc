#include "router/tokenizer/normalizer.h"

#include <utility>

#include "base/sentencepiece_model.h"
#include "base/utf8.h"

namespace octet::router {
namespace {

void append_escaped(std::string_view output, std::string& text) {
  for (const char c : output) {
    if (c == ' ') {
      text.append(kSpaceSymbol);
    } else {
      text.push_back(c);
    }
  }
}

// A dummy prefix with nothing after it goes, too.
void remove_trailing_spaces(NormalizedText& out) {
  while (out.text.ends_with(kSpaceSymbol)) {
    const size_t begin = out.text.size() - kSpaceSymbol.size();
    if (!out.literals.empty() && out.literals.back() == begin) return;
    out.text.resize(begin);
  }
}

}  // namespace

Normalizer::Normalizer(Options options, CharMap char_map, const SpecialPieces& specials)
    : options_(options), char_map_(std::move(char_map)), specials_(specials) {}

// What stands at the front of rest, which begins at byte number at.
Normalizer::Step Normalizer::step(std::string_view rest, size_t at, ByteRanges::Walk& plain) const {
  const SpecialPiece* special = specials_.match_front(rest);
  if (special != nullptr && (special->is_one_character || !plain.touches(at, at + special->text.size()))) {
    return {.num_bytes = special->text.size(), .output = rest.substr(0, special->text.size())};
  }
  if (options_.keep_literals && rest.starts_with(kSpaceSymbol) &&
      plain.touches(at, at + kSpaceSymbol.size())) {
    return {.num_bytes = kSpaceSymbol.size(), .output = kSpaceSymbol, .is_literal = true};
  }
  if (const auto rule = char_map_.match_front(rest)) {
    return {.num_bytes = rule->num_bytes, .output = rule->replacement};
  }
  const Utf8Scan scan = scan_utf8(rest);
  if (scan.front != Utf8Front::kCharacter) return {.num_bytes = 1, .output = kReplacementCharacter};
  return {.num_bytes = scan.num_bytes, .output = rest.substr(0, scan.num_bytes)};
}

NormalizedText Normalizer::run(const MarkedText& input, Position position) const {
  NormalizedText out;
  const std::string_view text = input.text;
  ByteRanges::Walk plain(input.plain);
  const bool is_begin = position == Position::kBegin;
  bool after_space =
      options_.remove_extra_whitespaces && is_begin;  // spaces that begin a text are extra ones
  bool wants_prefix = options_.add_dummy_prefix && is_begin;
  for (size_t at = 0; at < text.size();) {
    const Step next = step(text.substr(at), at, plain);
    if (wants_prefix) out.text.append(kSpaceSymbol);
    wants_prefix = false;
    std::string_view output = next.output;
    while (after_space && output.starts_with(' ')) output.remove_prefix(1);
    const size_t begin = out.text.size();
    if (next.is_literal) out.literals.push_back(begin);
    append_escaped(output, out.text);
    if (plain.touches(at, at + next.num_bytes)) out.plain.append(begin, out.text.size());
    if (!output.empty()) after_space = options_.remove_extra_whitespaces && output.ends_with(' ');
    at += next.num_bytes;
  }
  if (options_.remove_extra_whitespaces) remove_trailing_spaces(out);
  return out;
}

}  // namespace octet::router
