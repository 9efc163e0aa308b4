// The batch scheduler of the lead stage: decides, step by step, which tokens of which sequences the pipeline
// computes, and in which blocks of the KV cache their keys and values lie. Continuous batching at every step,
// prefill chunks and decodes in one micro-batch under a token budget, preemption by recomputation.
//
// Host-only arithmetic, owned by one thread: no mutex, no clock of its own, no gRPC, no tensors.
//
// The rules, in the order in which schedule() applies them. Seniority is (priority, arrival); a sequence
// keeps its arrival through preemptions.
//
// 1. Claims. By seniority, every running sequence that is not in flight gets the block that its next token
//    needs. While none is free, the most junior sequence that is not in flight and is junior to the claimant
//    is preempted: it gives up its blocks and waits to be prefilled again. A claimant without such a junior
//    sits this micro-batch out.
// 2. Decodes, those planned longest ago first. A micro-batch takes at most ceil(decoding sequences /
//    max_micro_batches), so that they spread evenly over the micro-batches in flight and no stage idles.
// 3. Prefills of running sequences, by seniority, each in a chunk of what is left of max_batch_tokens and
//    of the free blocks. These are not spread: a micro-batch costs at least one read of the weights, so a
//    chunk is as large as it can be and the next micro-batch takes the next prefill.
// 4. Admission of waiting sequences, by seniority and none overtaking, while the free blocks that no running
//    prefill still needs cover all tokens of the newcomer plus one, and a hundredth of the cache besides.
//    Blocks with its beginning that others hold need not be free. With nothing running there is no such
//    margin. None in a micro-batch that preempted; and a waiting sequence preempts no one.
//
// The prefix cache. A block that a plan fills can be shared from then on by sequences with the same salt and
// the same tokens up to its end: stages run plans in order, and chunks of a plan write before they read, so
// it is computed by the time it is read, and no chunk writes a block that was filled. So of many choices of
// one prompt, admitted in one plan, the first computes what the others share. A newcomer whose next block a
// running prefill is about to compute waits for it, and others may overtake it meanwhile. A block that nobody
// holds keeps its content until its turn comes to be given out again: those without content go first, then
// those free for the longest time. A newcomer shares all blocks from its beginning on that are found, of
// prompt and output alike. It always computes its last token, whose logits it needs, and all prompt tokens
// whose log-probabilities it has still to report. Rows do not see each other, so its bits are those it had
// without the cache.
//
// At most max_batch_tokens * max_micro_batches sequences run, so that each can have a row in every round of
// the micro-batches. The most senior running sequence can take the blocks of all the others, so it always
// gets to its end, and then so does the next.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "worker/batch/batch_plan.h"
#include "worker/batch/step_result.h"
#include "worker/lead/prefix_observer.h"
#include "worker/lead/scheduler_types.h"

namespace octet::worker {

class Scheduler {
 public:
  // observer: hears of every change in the prefix cache, outlives the scheduler; null for none.
  explicit Scheduler(const SchedulerConfig& config, PrefixObserver* observer = nullptr);
  ~Scheduler();

  // Takes a sequence, or says why not: an empty prompt, a token outside the vocabulary, more tokens than the
  // context or the whole KV cache can hold, sampling out of range, a full waiting queue. The id must never
  // have been used before.
  std::optional<Refusal> submit(NewSequence sequence);

  // Ends a sequence without an update; its blocks are free at once (stages run plans in order, so a block may
  // be given away while a plan that uses it is in flight). Unknown ids are ignored.
  void cancel(SequenceId id);

  // The next micro-batch, or nothing when no sequence can run now or max_micro_batches are in flight. A
  // sequence is in at most one micro-batch in flight. Sequences whose deadline has passed are not planned any
  // more; expire() ends them.
  std::optional<BatchPlan> schedule(Time now);

  // Takes the last stage's result of the oldest plan in flight: advances its sequences, ends those that are
  // finished and frees their blocks. Results of sequences that ended meanwhile are dropped.
  CommitOutcome commit(const StepResult& result);

  // Ends sequences whose deadline is at or before `now`, in flight or not, with FinishReason::kDeadline.
  std::vector<SequenceUpdate> expire(Time now);
  // The earliest deadline, or kNoDeadline.
  Time next_deadline() const;

  // The epoch ended: plans in flight are void, every sequence waits to be prefilled again, all blocks are
  // free and without content, and step numbers start again at 1. The stages must have forgotten all
  // sequences.
  void reset();

  SchedulerStats stats() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace octet::worker
