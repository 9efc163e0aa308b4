// One API request as its generations: a list of prompts is run at the same time, ends as one and is cancelled
// when its client goes away. What the output looks like is left to the APIs. Event loop only.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "router/api/http_server.h"
#include "router/api/service_context.h"

namespace octet::router {

// Kept alive by the generations that it runs.
class GenerationCall : public std::enable_shared_from_this<GenerationCall> {
 public:
  virtual ~GenerationCall() = default;

  // Starts one generation for each request, once. The request is counted under the api's name when it ends.
  void run(std::vector<ValidatedRequest> requests);

 protected:
  GenerationCall(ServiceContext& context, std::string api, std::shared_ptr<HttpResponder> responder);

  // prompt: index in run()'s list. What these throw ends the call with INTERNAL.
  virtual void on_prompt_logprobs(size_t prompt, std::vector<TokenLogprob> logprobs) = 0;
  virtual void on_piece(size_t prompt, Piece piece) = 0;
  // The last call, one of: all generations are done; one failed, and the others are cancelled.
  virtual void on_done(const GenerationUsage& usage) = 0;  // summed over the prompts
  virtual void on_error(const absl::Status& status) = 0;

  // Ends a prompt's generation early; it counts as done.
  void stop(size_t prompt);
  // Ends the call with an error.
  void fail(const absl::Status& status);

  ServiceContext& context() { return context_; }
  HttpResponder& responder() { return *responder_; }

 private:
  class Sink;
  struct Generation {
    GenerationId id = 0;
    bool running = false;
  };

  // Runs one of the calls above.
  template <typename Call>
  void guarded(Call call);
  void finish_prompt(size_t prompt, const GenerationUsage& usage);
  void abandon();
  void end(const absl::Status& status);

  ServiceContext& context_;
  const std::string api_;
  const std::shared_ptr<HttpResponder> responder_;
  std::shared_ptr<CallRecord> record_;  // from run() on; null: calls are not recorded
  std::vector<Generation> generations_;
  size_t num_unfinished_ = 0;
  GenerationUsage usage_;
  bool ended_ = false;
};

// On whose account the request runs.
Tenant tenant_of(const HttpRequest& request);

// The request's context, or UNAVAILABLE while no pipeline has been ready.
absl::StatusOr<ValidationContext> validation_context(const ServiceContext& context);

}  // namespace octet::router
