// One Generate call: a reactor of gRPC's callback API on one side, a sink of the generator on the other. The
// answer's headers leave with the first message, so that a call which fails before it may be retried by any
// client.
#pragma once

#include <grpcpp/grpcpp.h>

#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "octet/v1/generation.pb.h"
#include "router/api/service_context.h"

namespace octet::router {

// Owned by itself from begin() until gRPC is done with it. gRPC's threads parse and validate; everything
// after that is the event loop's.
class GenerateCall final : public grpc::ServerWriteReactor<grpc::ByteBuffer>,
                           public GenerationSink,
                           public std::enable_shared_from_this<GenerateCall> {
 public:
  // A client that leaves more than this waiting behind the message being written is cancelled.
  static constexpr size_t kMaxQueuedBytes = 4 << 20;

  GenerateCall(ServiceContext& context, grpc::CallbackServerContext& call) : context_(context), call_(call) {}

  // Once, by the handler. bytes: a GenerateRequest, only read before this returns.
  void begin(const grpc::ByteBuffer& bytes);

  void on_prompt_logprobs(std::vector<TokenLogprob> logprobs) override;
  void on_piece(Piece piece) override;
  void on_done(const GenerationUsage& usage) override;
  void on_error(const absl::Status& status) override;

 private:
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  // On the loop: hands the request to the generator.
  void start(ValidatedRequest request);
  // The message that goes out next: made once, and held while it may still become the last one.
  v1::GenerateResponse& next_message();
  void enqueue();
  // Ends the call with this status when all that is queued has been written.
  void end(const absl::Status& status);
  // The client is gone or too slow: what is queued is dropped.
  void abandon();
  void write_next();

  ServiceContext& context_;
  grpc::CallbackServerContext& call_;
  std::shared_ptr<GenerateCall> keep_alive_;
  std::shared_ptr<CallRecord> record_;  // null: calls are not recorded

  std::optional<GenerationId> generation_;  // while it runs
  std::string request_id_;
  uint64_t seed_ = 0;
  uint32_t num_unfinished_ = 0;               // choices
  std::optional<v1::GenerateResponse> next_;  // not queued yet
  bool any_queued_ = false;
  std::deque<grpc::ByteBuffer> queue_;  // the front one is being written while writing_
  size_t num_queued_bytes_ = 0;         // without the one being written
  bool writing_ = false;
  bool abandoned_ = false;
  bool finished_ = false;            // gRPC was told the end
  std::optional<absl::Status> end_;  // how the call ends, once known
};

}  // namespace octet::router
