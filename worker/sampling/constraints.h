// Keeps sequences to their token constraints. Constraints is the last stage's: what the vocabulary's tokens
// are as text, and a matcher for each automaton in use, which sequences with the same one share.
// SequenceConstraint is a sequence's place in its automaton; it follows from the generated tokens.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "worker/batch/token_constraint.h"
#include "worker/batch/tokens.h"
#include "worker/sampling/automaton_matcher.h"
#include "worker/sampling/token_trie.h"

namespace octet::worker {

// What a token adds to a text; "" for one that is never allowed under a constraint (control and special
// pieces).
struct TokenTexts {
  std::vector<std::string> in_text;        // [vocab_size], after other text
  std::vector<std::string> at_text_start;  // [vocab_size], as the first of a text
};

class SequenceConstraint;

class Constraints {
 public:
  // Without texts every sequence with a constraint is refused, for the reason given.
  explicit Constraints(std::string why_no_texts) : why_no_texts_(std::move(why_no_texts)) {}
  explicit Constraints(TokenTexts texts, size_t max_kept_bytes = kMaxKeptBytes);

  // For a sequence that has generated these tokens. This must outlive it.
  SequenceConstraint begin(const TokenConstraint& constraint, std::span<const TokenId> generated);

  // Masks and places of all automatons, roughly.
  size_t kept_bytes() const;

  static constexpr size_t kMaxKeptBytes = 256 << 20;

 private:
  friend class SequenceConstraint;
  struct Shared {
    Shared(std::shared_ptr<const std::string> serialised, ByteAutomaton parsed)
        : automaton(std::move(serialised)), matcher(std::move(parsed)) {}
    std::shared_ptr<const std::string> automaton;
    AutomatonMatcher matcher;
  };
  struct Vocabulary {
    explicit Vocabulary(TokenTexts token_texts);
    TokenTexts texts;
    TokenTrie in_text;
    TokenTrie at_text_start;
  };
  static constexpr size_t kMaxUnused = 64;  // automatons that no sequence has

  std::shared_ptr<Shared> shared_for(const TokenConstraint& constraint);
  void keep_to_limit();

  std::string why_no_texts_;
  std::optional<Vocabulary> vocabulary_;
  size_t max_kept_bytes_ = kMaxKeptBytes;
  std::list<std::shared_ptr<Shared>> shared_;  // the last used first
};

class SequenceConstraint {
 public:
  // Which tokens may come next: those after which the output can still become a match, and the end tokens
  // exactly where it is one. Never empty. Null when there is no such token: why() says so. Valid until the
  // next call.
  const TokenMask* allowed();
  // The sequence generated this token, which was allowed.
  void add(TokenId token);
  const std::string& why() const { return why_; }

 private:
  friend class Constraints;
  SequenceConstraint(Constraints& owner, const TokenConstraint& constraint);
  const TokenMask* refuse(std::string why);

  Constraints* owner_;
  std::vector<TokenId> end_tokens_;
  bool at_text_start_;
  uint32_t num_generated_ = 0;
  std::string why_;
  std::shared_ptr<Constraints::Shared> shared_;
  AutomatonMatcher::PlacePointer place_;  // null once refused
  TokenMask mask_;
};

}  // namespace octet::worker
