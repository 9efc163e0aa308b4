// What a grammar is between its source and its automaton: expressions over characters, and rules that they
// can call. JSON schemas, regular expressions and EBNF all become this.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "router/grammar/code_points.h"

namespace octet::router {

struct Expression {
  enum class Kind {
    kText,       // exactly this text
    kCharacter,  // one character of a set
    kSequence,   // the parts one after the other; without parts the empty text
    kChoice,     // one of the parts; without parts nothing matches
    kRepeat,     // the part min to max times
    kRule,       // what another rule matches
  };
  static constexpr uint32_t kNoLimit = 0;

  Kind kind = Kind::kSequence;
  std::string text;  // valid UTF-8
  CodePoints characters;
  std::vector<Expression> parts;
  uint32_t min = 0;
  uint32_t max = kNoLimit;  // kNoLimit, or at least 1 and at least min
  uint32_t rule = 0;
};

// An expression with its parts takes some hundred bytes each: a grammar that has more is refused, so that a
// source of 64 KiB takes no more than a few MiB.
inline constexpr size_t kMaxExpressions = 16'384;
inline size_t num_expressions(const Expression& expression) {
  size_t number = 1;
  for (const Expression& part : expression.parts) number += num_expressions(part);
  return number;
}

struct Grammar {
  struct Rule {
    std::string name;  // for errors
    Expression body;
  };
  std::vector<Rule> rules;  // a whole output matches rule 0
};

inline Expression text(std::string_view characters) {
  Expression expression;
  expression.kind = Expression::Kind::kText;
  expression.text = characters;
  return expression;
}

inline Expression one_of(CodePoints characters) {
  Expression expression;
  expression.kind = Expression::Kind::kCharacter;
  expression.characters = std::move(characters);
  return expression;
}

inline Expression sequence(std::vector<Expression> parts) {
  Expression expression;
  expression.parts = std::move(parts);
  return expression;
}

inline Expression choice(std::vector<Expression> parts) {
  Expression expression;
  expression.kind = Expression::Kind::kChoice;
  expression.parts = std::move(parts);
  return expression;
}

inline Expression repeat(Expression part, uint32_t min, uint32_t max) {
  Expression expression;
  expression.kind = Expression::Kind::kRepeat;
  expression.parts.push_back(std::move(part));
  expression.min = min;
  expression.max = max;
  return expression;
}

inline Expression optional(Expression part) {
  return repeat(std::move(part), 0, 1);
}

inline Expression call(uint32_t rule) {
  Expression expression;
  expression.kind = Expression::Kind::kRule;
  expression.rule = rule;
  return expression;
}

}  // namespace octet::router
