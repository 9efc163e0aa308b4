// Pipelines whose outputs the test writes, and a sink that keeps what it hears.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/status.h"
#include "octet/v1/pipeline.pb.h"
#include "router/generation/generation.h"
#include "router/routing/pipeline.h"

namespace octet::router {

class FakePipelines final : public Pipelines {
 public:
  struct Started {
    v1::StartSequence start;
    SequenceEvents* events = nullptr;  // null once the sequence has ended or was cancelled
    bool cancelled = false;
    PipelineId pipeline = 0;
  };
  struct Asked {  // a placement
    uint32_t num_sequences = 0;
    uint64_t num_generated = 0;
    PipelineId avoid = 0;
    bool operator==(const Asked&) const = default;
  };

  absl::StatusOr<std::optional<PipelineId>> choose(const Placement& placement) override {
    asked = {placement.num_sequences, placement.num_generated, placement.avoid};
    if (!ready) return unavailable("no pipeline is ready", std::chrono::seconds(1));
    if (num_running() >= room) return std::nullopt;
    return pipeline;
  }
  bool is_pausing() const override { return !ready && pausing; }
  SequenceHandle start(PipelineId chosen, v1::StartSequence sequence, SequenceEvents& events) override {
    const SequenceHandle handle{.pipeline = chosen, .sequence_id = sequences.size()};
    sequence.set_sequence_id(handle.sequence_id);
    sequences.push_back({std::move(sequence), &events, false, chosen});
    return handle;
  }
  void cancel(const SequenceHandle& handle) override {
    Started& sequence = sequences.at(handle.sequence_id);
    if (sequence.events == nullptr) return;
    sequence.events = nullptr;
    sequence.cancelled = true;
  }

  // Delivers an output to a sequence that runs.
  void send(size_t sequence, const v1::SequenceOutput& output) {
    SequenceEvents* events = sequences.at(sequence).events;
    OCTET_CHECK(events != nullptr, "sequence ", sequence, " does not run");
    if (output.finish_reason() != v1::FINISH_REASON_UNSPECIFIED || output.error_code() != 0) {
      sequences[sequence].events = nullptr;
    }
    events->on_output(output);
  }
  void send_tokens(size_t sequence, const std::vector<TokenId>& tokens,
                   v1::FinishReason reason = v1::FINISH_REASON_UNSPECIFIED) {
    v1::SequenceOutput output;
    for (const TokenId token : tokens) output.add_tokens()->set_token_id(token);
    output.set_finish_reason(reason);
    send(sequence, output);
  }
  void lose(size_t sequence, MoveReason reason = MoveReason::kLost) {
    SequenceEvents* events = std::exchange(sequences.at(sequence).events, nullptr);
    events->on_lost(reason);
  }
  void drain(size_t sequence, Time end) { sequences.at(sequence).events->on_draining(end); }
  size_t num_running() const {
    size_t result = 0;
    for (const Started& sequence : sequences) result += sequence.events != nullptr ? 1 : 0;
    return result;
  }

  std::vector<Started> sequences;
  std::optional<Asked> asked;  // last
  PipelineId pipeline = 1;     // that has room
  bool ready = true;
  bool pausing = false;
  size_t room = 1000;  // sequences; with so many running there is none
};

struct RecordingSink final : GenerationSink {
  void on_prompt_logprobs(std::vector<TokenLogprob> logprobs) override {
    OCTET_CHECK(!ended(), "a call after the last one");
    OCTET_CHECK(pieces.empty(), "prompt log-probabilities after a piece");
    prompt_logprobs = std::move(logprobs);
  }
  void on_piece(Piece piece) override {
    OCTET_CHECK(!ended(), "a call after the last one");
    pieces.push_back(std::move(piece));
    if (after_piece) after_piece();
  }
  void on_done(const GenerationUsage& value) override {
    OCTET_CHECK(!ended(), "a call after the last one");
    usage = value;
  }
  void on_error(const absl::Status& status) override {
    OCTET_CHECK(!ended(), "a call after the last one");
    error = status;
  }

  bool ended() const { return usage || error; }
  std::string text(uint32_t index) const {
    std::string result;
    for (const Piece& piece : pieces) result += piece.index == index ? piece.text : "";
    return result;
  }
  // Of the choice's last piece so far.
  std::optional<FinishReason> finish(uint32_t index) const {
    std::optional<FinishReason> result;
    for (const Piece& piece : pieces) {
      if (piece.index == index) result = piece.finish;
    }
    return result;
  }

  std::optional<std::vector<TokenLogprob>> prompt_logprobs;
  std::vector<Piece> pieces;
  std::optional<GenerationUsage> usage;
  std::optional<absl::Status> error;
  std::function<void()> after_piece;
};

}  // namespace octet::router
