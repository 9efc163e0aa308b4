#include "worker/sampling/constraints.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace octet::worker {
namespace {

void set_bit(TokenMask& mask, TokenId token, bool value) {
  const uint32_t bit = 1U << token % 32;
  mask[token / 32] = value ? mask[token / 32] | bit : mask[token / 32] & ~bit;
}

}  // namespace

Constraints::Vocabulary::Vocabulary(TokenTexts token_texts)
    : texts(std::move(token_texts)), in_text(texts.in_text), at_text_start(texts.at_text_start) {
  OCTET_CHECK(texts.in_text.size() == texts.at_text_start.size(), texts.in_text.size(), " and ",
              texts.at_text_start.size(), " tokens");
}

Constraints::Constraints(TokenTexts texts, size_t max_kept_bytes) : max_kept_bytes_(max_kept_bytes) {
  vocabulary_.emplace(std::move(texts));
}

SequenceConstraint Constraints::begin(const TokenConstraint& constraint, std::span<const TokenId> generated) {
  SequenceConstraint sequence(*this, constraint);
  if (!vocabulary_) {
    sequence.refuse(why_no_texts_);
    return sequence;
  }
  sequence.shared_ = shared_for(constraint);
  if (sequence.shared_ == nullptr) {
    sequence.refuse("the automaton is not one that this version can read");
    return sequence;
  }
  sequence.place_ = sequence.shared_->matcher.start();
  if (sequence.place_ == nullptr) sequence.refuse("it matches no text, or is too ambiguous at its beginning");
  for (const TokenId token : generated) sequence.add(token);
  return sequence;
}

size_t Constraints::kept_bytes() const {
  size_t bytes = 0;
  for (const auto& shared : shared_) bytes += shared->matcher.kept_bytes() + shared->automaton->size();
  return bytes;
}

std::shared_ptr<Constraints::Shared> Constraints::shared_for(const TokenConstraint& constraint) {
  const auto found = std::find_if(shared_.begin(), shared_.end(), [&](const auto& shared) {
    return *shared->automaton == *constraint.automaton;
  });
  if (found != shared_.end()) {
    shared_.splice(shared_.begin(), shared_, found);
    return shared_.front();
  }
  auto automaton = ByteAutomaton::parse(*constraint.automaton);
  if (!automaton) return nullptr;
  shared_.push_front(std::make_shared<Shared>(constraint.automaton, *std::move(automaton)));
  return shared_.front();
}

// What no sequence uses goes first, then all that can be found out again.
void Constraints::keep_to_limit() {
  size_t num_unused = 0;
  for (auto shared = shared_.begin(); shared != shared_.end();) {
    const bool is_surplus = shared->use_count() == 1 && ++num_unused > kMaxUnused;
    shared = is_surplus ? shared_.erase(shared) : std::next(shared);
  }
  size_t bytes = kept_bytes();
  for (auto shared = shared_.end(); shared != shared_.begin() && bytes > max_kept_bytes_;) {
    --shared;
    if (shared->use_count() > 1) continue;
    bytes -= (*shared)->matcher.kept_bytes();
    shared = shared_.erase(shared);
  }
  if (bytes <= max_kept_bytes_) return;
  for (const auto& shared : shared_) shared->matcher.forget();
}

SequenceConstraint::SequenceConstraint(Constraints& owner, const TokenConstraint& constraint)
    : owner_(&owner), end_tokens_(constraint.end_tokens), at_text_start_(constraint.begins_text) {}

const TokenMask* SequenceConstraint::refuse(std::string why) {
  if (why_.empty()) why_ = std::move(why);
  place_.reset();
  return nullptr;
}

const TokenMask* SequenceConstraint::allowed() {
  if (place_ == nullptr) return nullptr;
  owner_->keep_to_limit();
  const Constraints::Vocabulary& vocabulary = *owner_->vocabulary_;
  const size_t vocab_size = vocabulary.texts.in_text.size();
  mask_.resize((vocab_size + 31) / 32);
  bool is_found = true;
  if (at_text_start_) {
    is_found = shared_->matcher.find_allowed(*place_, vocabulary.at_text_start, mask_);
  } else if (const TokenMask* kept = shared_->matcher.allowed(*place_, vocabulary.in_text, vocab_size)) {
    mask_ = *kept;
  } else {
    is_found = false;
  }
  const std::string where = " after " + std::to_string(num_generated_) + " tokens of output";
  if (!is_found) return refuse("it is too ambiguous" + where);
  const bool is_match = AutomatonMatcher::accepts(*place_);
  for (const TokenId token : end_tokens_) set_bit(mask_, token, is_match);
  if (std::all_of(mask_.begin(), mask_.end(), [](uint32_t word) { return word == 0; })) {
    return refuse("no token of the vocabulary can follow" + where);
  }
  return &mask_;
}

void SequenceConstraint::add(TokenId token) {
  ++num_generated_;
  if (place_ == nullptr) return;
  const TokenTexts& texts = owner_->vocabulary_->texts;
  const std::string& text = (at_text_start_ ? texts.at_text_start : texts.in_text)[token];
  at_text_start_ = false;
  // A sequence that ended gets no more tokens.
  if (std::find(end_tokens_.begin(), end_tokens_.end(), token) != end_tokens_.end()) return;
  place_ = text.empty() ? nullptr : shared_->matcher.advance(*place_, text);
  if (place_ == nullptr) {
    refuse("token " + std::to_string(num_generated_) + " of the output does not follow it");
  }
}

}  // namespace octet::worker
