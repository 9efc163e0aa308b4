// The router's one Submit stream to a lead: sequences to start and to cancel go out in order, outputs come
// in.
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <unordered_map>

#include "octet/v1/pipeline.grpc.pb.h"
#include "router/routing/loop_stream.h"

namespace octet::router {

// What waits to be written is bounded by the sequences in flight: a start that is cancelled before it left is
// taken back, and each start that left is cancelled at most once.
class SubmitStream final
    : public LoopStream<grpc::ClientBidiReactor<v1::SubmitRequest, v1::SubmitResponse>, v1::SubmitResponse> {
 public:
  using LoopStream::LoopStream;

  void start(v1::StartSequence sequence);
  void cancel(uint64_t sequence_id);

 private:
  void OnWriteDone(bool ok) override;
  void write_next();

  std::list<v1::SubmitRequest> waiting_;
  std::unordered_map<uint64_t, std::list<v1::SubmitRequest>::iterator> waiting_starts_;
  v1::SubmitRequest outgoing_;
  bool writing_ = false;
};

}  // namespace octet::router
