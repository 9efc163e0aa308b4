// Reports a later stage to the lead, each second for as long as the lead does not use it.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "base/credentials.h"
#include "worker/engine/stage_client.h"

namespace grpc {
class ClientContext;
}

namespace octet::worker {

class Registrar {
 public:
  // cluster: towards the lead; null: no TLS. needed: the lead should hear of the stage now. registration:
  // what it hears. Both are called on the registrar's thread.
  Registrar(std::string lead_address, std::shared_ptr<TlsFiles> cluster, std::function<bool()> needed,
            std::function<Registration()> registration);
  ~Registrar();

  // Asks `needed` again at once. From any thread.
  void wake();
  // Why the lead refuses this stage for good, if it does: the registrar has stopped then.
  std::optional<absl::Status> refusal() const;

 private:
  void run();
  absl::Status register_once();
  void report(const absl::Status& status);

  const std::string lead_address_;
  const std::shared_ptr<TlsFiles> cluster_;
  const std::function<bool()> needed_;
  const std::function<Registration()> registration_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool woken_ = false;
  bool stopped_ = false;
  grpc::ClientContext* call_ = nullptr;  // under way
  std::optional<absl::Status> refusal_;
  std::optional<absl::Status> reported_;  // of the registrar's thread: what the log said last

  std::thread thread_;  // last: runs over all of the above
};

}  // namespace octet::worker
