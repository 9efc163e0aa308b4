// One admitted request: once it is started, a sequence for each choice, their text, and what its sink is
// told. A choice whose pipeline is lost goes on with the same tokens on another one. Event loop only.
// Admission, the set of all requests and what waits for a pipeline are PipelineGenerator's.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "router/generation/generation.h"
#include "router/generation/moves.h"
#include "router/metrics.h"
#include "router/request/validated_request.h"
#include "router/routing/pipeline.h"
#include "router/tracing/call_record.h"

namespace octet::router {

// A sink may cancel the request from within any of its calls.
class RunningRequest : public std::enable_shared_from_this<RunningRequest> {
 public:
  struct Surroundings {
    boost::asio::io_context& loop;
    Pipelines& pipelines;
    std::shared_ptr<const Tokenizer> tokenizer;
    RouterMetrics& metrics;
    Duration deadline_grace;  // from the deadline to its end by the router's own timer
  };

  struct Owner {
    std::function<void()> on_end;  // once, before the sink's last call; not after cancel()
    std::function<void(uint32_t num_tokens)> on_tokens;  // generated, whatever becomes of them
    std::function<void()> on_sequence_end;               // a choice ended well
    // A choice has left its pipeline; leaving.id.request is the owner's to fill in. When it moves it waits
    // for resume(), otherwise the request fails.
    std::function<Moves::Verdict(Moves::Leaving leaving)> on_leave;
    // A choice's pipeline is about to end, and the choice will not have ended by then: hand_over() is
    // welcome.
    std::function<void(uint32_t choice)> on_draining;
  };

  RunningRequest(const Surroundings& surroundings, ValidatedRequest request,
                 std::shared_ptr<GenerationSink> sink, Time arrival, Owner owner);
  ~RunningRequest();

  const ValidatedRequest& request() const { return request_; }
  Time arrival() const { return arrival_; }

  // Sends all choices to a pipeline that was chosen in this turn of the loop. Errors: DEADLINE_EXCEEDED when
  // the deadline has passed; then nothing runs and fail() is for the caller to call.
  absl::Status start(PipelineId pipeline);
  // What a choice that moves looks for.
  Placement placement(uint32_t choice) const;
  // Goes on with a choice that has left its pipeline, on one that was chosen in this turn of the loop. Past
  // the deadline the request ends instead.
  void resume(uint32_t choice, PipelineId pipeline);
  // The same for one that still runs elsewhere, where it ends.
  void hand_over(uint32_t choice, PipelineId pipeline);
  // Ends all sequences and drops the sink.
  void cancel();
  // Ends all sequences and the request; the sink hears why.
  void fail(const absl::Status& status);

 private:
  struct Sequence;

  void run_on(Sequence& sequence, PipelineId pipeline, Time now);
  // answered: by a lead that is there.
  void leave(Sequence& sequence, MoveReason reason, bool answered, const absl::Status& why);
  void on_output(Sequence& sequence, const v1::SequenceOutput& output);
  // The lead gave the sequence up, for no reason of the request's.
  void on_failure(Sequence& sequence, const absl::Status& why);
  void on_draining(Sequence& sequence, Time end);
  absl::Status take_tokens(Sequence& sequence, const v1::SequenceOutput& output);
  absl::Status take_prompt_logprobs(const v1::SequenceOutput& output);
  // Ends the request by deadline: with the text so far when there is some, else as an error.
  void on_deadline();
  void finish(Sequence& sequence, FinishReason reason);
  void send(Piece piece);
  void observe_tokens(Sequence& sequence, int num_tokens);
  void end_sequences();
  // Tells the call's record how it went.
  void record_end();
  // Whether pieces may go out: prompt log-probabilities come before all of them.
  bool may_send() const { return !request_.prompt_logprobs || prompt_logprobs_sent_; }

  const Surroundings surroundings_;
  const ValidatedRequest request_;
  std::shared_ptr<GenerationSink> sink_;  // empty once the request has ended
  const Time arrival_;
  const Owner owner_;

  InFlight request_in_flight_;
  InFlight sequences_in_flight_;
  std::vector<std::unique_ptr<Sequence>> sequences_;  // [num_choices]
  boost::asio::steady_timer deadline_timer_;
  std::vector<TokenLogprob> prompt_logprobs_;  // [at most prompt.size() - 1]
  bool prompt_logprobs_sent_ = false;
  std::vector<Piece> held_pieces_;  // of other choices, while choice 0's prompt is computed
  uint32_t num_finished_ = 0;
  bool has_tokens_ = false;
  GenerationUsage usage_;
  GenerationTrack track_;  // for the call's record; its counts are filled in at the end
};

// What a request ends with whose deadline passed before its first token.
absl::Status deadline_exceeded();

}  // namespace octet::router
