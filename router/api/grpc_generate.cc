#include "router/api/grpc_generate.h"

#include <boost/asio/post.hpp>
#include <utility>

#include "base/grpc_server.h"
#include "base/log.h"
#include "router/api/error_mapping.h"
#include "router/api/grpc_convert.h"
#include "router/api/grpc_record.h"
#include "router/api/grpc_request.h"
#include "router/api/grpc_wire.h"

namespace octet::router {

void GenerateCall::begin(const grpc::ByteBuffer& bytes) {
  keep_alive_ = shared_from_this();
  record_ = begin_grpc_record(context_, call_, "Generate", "text_completion");
  boost::asio::post(context_.loop, [self = keep_alive_, request = read_request<v1::GenerateRequest>(
                                                            bytes, context_, call_, record_)]() mutable {
    request.ok() ? self->start(*std::move(request)) : self->end(request.status());
  });
}

void GenerateCall::start(ValidatedRequest request) {
  request_id_ = request.request_id;
  seed_ = request.sampling.seed;
  num_unfinished_ = request.num_choices;
  generation_ = context_.generator.start(std::move(request), shared_from_this());
}

v1::GenerateResponse& GenerateCall::next_message() {
  if (!next_) {
    next_.emplace();
    next_->set_request_id(request_id_);
    if (!any_queued_) next_->set_seed(seed_);
  }
  return *next_;
}

void GenerateCall::on_prompt_logprobs(std::vector<TokenLogprob> logprobs) {
  v1::GenerateResponse& message = next_message();
  for (const TokenLogprob& token : logprobs) fill(token, *context_.tokenizer, *message.add_prompt_logprobs());
  enqueue();
}

void GenerateCall::on_piece(Piece piece) {
  const bool is_last = piece.finish && --num_unfinished_ == 0;
  fill(std::move(piece), *context_.tokenizer, next_message());
  if (!is_last) enqueue();  // the last one waits for usage, which follows at once
}

void GenerateCall::on_done(const GenerationUsage& usage) {
  generation_.reset();
  fill(usage, *next_message().mutable_usage());
  enqueue();
  end(absl::OkStatus());
}

void GenerateCall::on_error(const absl::Status& status) {
  generation_.reset();
  end(status);
}

void GenerateCall::enqueue() {
  if (abandoned_) return;
  any_queued_ = true;
  queue_.push_back(serialize(*next_));
  num_queued_bytes_ += queue_.back().Length();
  next_.reset();
  if (num_queued_bytes_ > kMaxQueuedBytes) {
    spdlog::info("request {}: the client reads too slowly and is cancelled", request_id_);
    call_.TryCancel();
    abandon();
  }
  write_next();
}

void GenerateCall::end(const absl::Status& status) {
  if (end_) return;
  end_ = status;
  end_grpc_record(record_.get(), status);
  context_.metrics.count_request("grpc", outcome_label(status));
  write_next();
}

void GenerateCall::abandon() {
  abandoned_ = true;
  if (const auto generation = std::exchange(generation_, std::nullopt))
    context_.generator.cancel(*generation);
  while (queue_.size() > (writing_ ? 1U : 0U)) queue_.pop_back();
  if (!end_) end(client_gone(call_));
}

void GenerateCall::write_next() {
  if (writing_ || finished_) return;
  if (!queue_.empty()) {
    writing_ = true;
    num_queued_bytes_ -= queue_.front().Length();
    StartWrite(&queue_.front());
  } else if (end_) {
    finished_ = true;
    Finish(to_grpc(*end_));
  }
}

void GenerateCall::OnWriteDone(bool ok) {
  boost::asio::post(context_.loop, [self = shared_from_this(), ok] {
    self->writing_ = false;
    self->queue_.pop_front();
    if (!ok) self->abandon();
    self->write_next();
  });
}

void GenerateCall::OnCancel() {
  boost::asio::post(context_.loop, [self = shared_from_this()] { self->abandon(); });
}

void GenerateCall::OnDone() {
  // The loop may still hold this call in what it has posted; the last to let go deletes it.
  keep_alive_.reset();
}

}  // namespace octet::router
