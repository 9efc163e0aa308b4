// One Score call: a generation of one token, whose prompt log-probabilities are the answer and whose token is
// not.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <optional>
#include <vector>

#include "octet/v1/generation.pb.h"
#include "router/api/service_context.h"

namespace octet::router {

// Lives like a GenerateCall.
class ScoreCall final : public grpc::ServerUnaryReactor,
                        public GenerationSink,
                        public std::enable_shared_from_this<ScoreCall> {
 public:
  ScoreCall(ServiceContext& context, grpc::CallbackServerContext& call, grpc::ByteBuffer& answer)
      : context_(context), call_(call), answer_(answer) {}

  // Once, by the handler. bytes: a ScoreRequest, only read before this returns.
  void begin(const grpc::ByteBuffer& bytes);

  void on_prompt_logprobs(std::vector<TokenLogprob> logprobs) override;
  void on_piece(Piece) override {}
  void on_done(const GenerationUsage& usage) override;
  void on_error(const absl::Status& status) override;

 private:
  void OnCancel() override;
  void OnDone() override { keep_alive_.reset(); }

  void end(const absl::Status& status);

  ServiceContext& context_;
  grpc::CallbackServerContext& call_;
  grpc::ByteBuffer& answer_;
  v1::ScoreResponse response_;
  std::shared_ptr<ScoreCall> keep_alive_;
  std::shared_ptr<CallRecord> record_;      // null: calls are not recorded
  std::optional<GenerationId> generation_;  // while it runs
  bool ended_ = false;
};

}  // namespace octet::router
