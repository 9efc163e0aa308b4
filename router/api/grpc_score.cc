#include "router/api/grpc_score.h"

#include <boost/asio/post.hpp>
#include <utility>

#include "base/grpc_server.h"
#include "router/api/error_mapping.h"
#include "router/api/grpc_convert.h"
#include "router/api/grpc_record.h"
#include "router/api/grpc_request.h"
#include "router/api/grpc_wire.h"

namespace octet::router {

void ScoreCall::begin(const grpc::ByteBuffer& bytes) {
  keep_alive_ = shared_from_this();
  record_ = begin_grpc_record(context_, call_, "Score", "text_completion");
  boost::asio::post(context_.loop, [self = keep_alive_, request = read_request<v1::ScoreRequest>(
                                                            bytes, context_, call_, record_)]() mutable {
    if (!request.ok()) return self->end(request.status());
    self->generation_ = self->context_.generator.start(*std::move(request), self);
  });
}

void ScoreCall::on_prompt_logprobs(std::vector<TokenLogprob> logprobs) {
  for (const TokenLogprob& token : logprobs) fill(token, *context_.tokenizer, *response_.add_logprobs());
}

void ScoreCall::on_done(const GenerationUsage& usage) {
  fill(usage, *response_.mutable_usage());
  response_.mutable_usage()->set_completion_tokens(0);
  answer_ = serialize(response_);
  end(absl::OkStatus());
}

void ScoreCall::on_error(const absl::Status& status) {
  end(status);
}

void ScoreCall::OnCancel() {
  boost::asio::post(context_.loop, [self = shared_from_this()] {
    if (self->generation_) self->context_.generator.cancel(*self->generation_);
    if (!self->ended_) self->end(client_gone(self->call_));
  });
}

void ScoreCall::end(const absl::Status& status) {
  if (std::exchange(ended_, true)) return;
  generation_.reset();
  end_grpc_record(record_.get(), status);
  context_.metrics.count_request("grpc", outcome_label(status));
  Finish(to_grpc(status));
}

}  // namespace octet::router
