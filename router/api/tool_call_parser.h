// Finds the calls of tools in what a model writes: <toolcall> {"name": ..., "arguments": {...}} </toolcall>.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace octet::router {

inline constexpr std::string_view kToolCallBegin = "<toolcall>";
inline constexpr std::string_view kToolCallEnd = "</toolcall>";

struct ToolCall {
  std::string name;
  std::string arguments;  // the text of a JSON object
};

// Takes the text of one choice bit by bit. What stands between the markers and is no call stays text, and the
// first end marker ends a call, even inside a string of its arguments.
class ToolCallParser {
 public:
  struct Output {
    std::string text;  // without the calls and the white space around them
    std::vector<ToolCall> calls;
  };

  // What is known now. Text that may belong to a call waits for the rest.
  Output add(std::string_view text);
  // All that is left. A call that lacks its end marker, but nothing else, is one.
  Output finish();

  bool any_calls() const { return any_calls_; }

 private:
  // Whether something was found and pending_ should be looked at again.
  bool step(Output& output);
  void give_text(std::string_view text, Output& output);
  // Takes text that is no call, or the call that it is.
  void give_call(std::string_view inside, std::string_view whole, Output& output);

  std::string pending_;      // not understood yet
  std::string white_space_;  // at the end of the text given so far, left out when a call follows
  bool in_call_ = false;     // pending_ begins with kToolCallBegin
  bool any_calls_ = false;
};

}  // namespace octet::router
