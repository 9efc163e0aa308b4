// What a run measured, and the definitions of its figures:
//   TTFT        intended arrival of the request to its first token at the client. In an open loop the
//   intended arrival is
//               the planned one, whether or not the generator was late, so a stalled server cannot hide its
//               queue.
//   ITL         gap between two messages with output of one answer, divided by the tokens of the second where
//   the API
//               says how many it holds (gRPC); OpenAI's chunks do not, so there it is the gap between chunks.
//   TPOT        (end - first token) / (output tokens - 1), for answers of two tokens or more.
//   end to end  intended arrival to the end of the answer.
//   refusal     intended arrival to the end of an answer that says there is no room (429,
//   RESOURCE_EXHAUSTED).
// Failed requests are counted by kind and are in none of the first four; wrong answers are in all of them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tools/bench/client.h"

namespace octet::bench {

// Durations in seconds, kept whole, so that quantiles are exact.
class Samples {
 public:
  void add(Duration duration) { values_.push_back(static_cast<float>(seconds(duration))); }
  size_t count() const { return values_.size(); }
  // By nearest rank: the smallest sample that at least q of all samples do not exceed. Absent without
  // samples.
  std::optional<double> quantile(double q) const;

 private:
  mutable std::vector<float> values_;  // sorted up to num_sorted_
  mutable size_t num_sorted_ = 0;
};

struct WrongAnswer {
  uint64_t line = 0;  // of the prompt in its file
  std::string expected;
  std::string got;
};

struct FailureCount {
  uint64_t count = 0;
  std::string first_detail;
};

class Results {
 public:
  // Takes one finished request.
  void add(const Prompt& prompt, Time intended, const Answer& answer);

  uint64_t num_requests = 0;
  uint64_t num_verified = 0;  // answers compared with the expected text
  uint64_t num_wrong = 0;
  uint64_t num_failed = 0;
  std::map<std::string, FailureCount> failures;  // by kind
  std::vector<WrongAnswer> wrong_answers;        // the first few
  uint64_t num_tokens = 0;                       // generated
  uint64_t num_uncounted = 0;                    // answers whose tokens the API does not tell
  Samples time_to_first_token;
  Samples inter_token_latency;
  Samples time_per_output_token;
  Samples end_to_end;
  Samples time_to_refusal;

  // From the first intended arrival to the last answer.
  Duration duration() const;

 private:
  std::optional<Time> first_;
  Time last_;
};

}  // namespace octet::bench
