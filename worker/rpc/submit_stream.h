// One router's Submit stream: its sequences go to the engine, their news come back.
#pragma once

#include <memory>

#include "octet/v1/pipeline.grpc.pb.h"
#include "worker/engine/engine.h"
#include "worker/rpc/convert.h"
#include "worker/rpc/server_stream.h"

namespace octet::worker {

class SubmitStream final
    : public ServerStream<grpc::ServerBidiReactor<v1::SubmitRequest, v1::SubmitResponse>, v1::SubmitResponse>,
      public Subscriber {
 public:
  // The engine outlives the stream.
  SubmitStream(grpc::CallbackServerContext* context, Engine& engine, const WireLimits& limits);
  // Called once, before the reactor is returned to gRPC.
  void begin();

  bool deliver(std::vector<SequenceNews> news) override;
  void end(const absl::Status& status) override;

  void OnReadDone(bool ok) override;
  void OnDone() override;

 private:
  bool join(v1::SubmitResponse& waiting, v1::SubmitResponse& next) override;
  void start(const v1::StartSequence& message);

  Engine& engine_;
  const WireLimits limits_;
  SubscriberId subscriber_ = 0;
  v1::SubmitRequest request_;  // being read
};

}  // namespace octet::worker
