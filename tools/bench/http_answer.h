// What the HTTP APIs answer, read piece by piece: server-sent events, OpenAI's chunks, NeMo's and the error
// bodies. No sockets.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "tools/bench/client.h"

namespace octet::bench {

// Splits a stream of server-sent events. Lines end with \n or \r\n; only data fields matter here.
class EventReader {
 public:
  // Takes the next bytes; returns the data of the events that became whole.
  std::vector<std::string> feed(absl::string_view bytes);

 private:
  std::string line_;  // not whole yet
  std::string data_;  // of the event that is not whole yet
  bool has_data_ = false;
};

// Puts the data of one event of a completion or chat completion into the answer; `at` is when it came. The
// last event is "[DONE]". What does not fit the API sets answer.failure.
void read_openai_event(absl::string_view data, Time at, Answer& answer, bool& done);

// Puts the body of PUT /generate into the answer.
void read_nemo_body(absl::string_view body, const Prompt& prompt, Answer& answer);

// The first words of an error body of any of the APIs.
std::string error_detail(absl::string_view body);

// The end string that NeMo keeps in the text.
inline constexpr absl::string_view kNemoEndString = "<extra_id_1>";

}  // namespace octet::bench
