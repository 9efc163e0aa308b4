// Faults that no correct system has, switched on by name so that a reviewer sees the checks find them
// (--break NAME). They are made where the simulation carries the messages; the code under test stays as it
// is.
#pragma once

#include <array>
#include <optional>
#include <string_view>

namespace octet::simulation {

enum class Break {
  kNone,
  kLateResults,        // the lead takes results of an epoch that has ended as those of the one in force
  kLatePlans,          // a stage executes plans of an epoch that has ended
  kLoseToken,          // after a recovery the lead's next token is lost
  kCommitTwice,        // the lead tells a step's tokens twice
  kReorder,            // two messages of one stream change places
  kSwapChoices,        // two sequences get each other's tokens
  kDropCancel,         // the lead never hears of a cancelled sequence
  kDropEnd,            // the news that a sequence has ended is lost
  kStartTwice,         // a sequence is started on two pipelines
  kLeakSequence,       // the lead keeps a sequence, and its blocks, that nobody owns any more
  kForgetOnMove,       // a sequence that moves comes without its last token
  kOtherChoiceOnMove,  // a sequence that moves comes as another choice of its request
  kMute,               // a stage that has lost its lead does not register again
};

struct BreakName {
  std::string_view name;
  Break which;
};
inline constexpr std::array<BreakName, 13> kBreaks = {{
    {"late-results", Break::kLateResults},
    {"late-plans", Break::kLatePlans},
    {"lose-token", Break::kLoseToken},
    {"commit-twice", Break::kCommitTwice},
    {"reorder", Break::kReorder},
    {"swap-choices", Break::kSwapChoices},
    {"drop-cancel", Break::kDropCancel},
    {"drop-end", Break::kDropEnd},
    {"start-twice", Break::kStartTwice},
    {"leak-sequence", Break::kLeakSequence},
    {"forget-on-move", Break::kForgetOnMove},
    {"other-choice-on-move", Break::kOtherChoiceOnMove},
    {"mute", Break::kMute},
}};

// That of the run.
Break broken();
inline bool is_broken(Break which) {
  return broken() == which;
}

}  // namespace octet::simulation
