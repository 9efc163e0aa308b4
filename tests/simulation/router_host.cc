#include "tests/simulation/router_host.h"

#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"

#include "tests/simulation/runtime.h"

namespace octet::simulation {

RouterHost::RouterHost(const RouterSettings& settings, std::shared_ptr<const router::Tokenizer> tokenizer)
    : settings_(settings),
      loop_(1),
      work_(boost::asio::make_work_guard(loop_)),
      pool_(loop_, settings_.pool, metrics_,
            {.on_change = [] {}, .on_room = [this] { generator_.on_room(); }}),
      generator_(loop_, pool_, std::move(tokenizer), metrics_, settings_.limits) {
  Runtime::current()->process()->poll_loop = [this] { loop_.poll(); };
  pool_.use(settings_.leads);
  loop_.poll();
}

RouterHost::~RouterHost() {
  Runtime::current()->process()->poll_loop = [] {};
  loop_.stop();
}

router::GenerationId RouterHost::start(router::ValidatedRequest request,
                                       std::shared_ptr<router::GenerationSink> sink) {
  const router::GenerationId id = generator_.start(std::move(request), std::move(sink));
  loop_.poll();
  return id;
}

std::string RouterHost::exceeded(bool at_rest) {
  const router::PipelineGenerator::Limits& limits = settings_.limits;
  const double num_queued = metrics_.queue_requests(-1).Value() + metrics_.queue_requests(0).Value() +
                            metrics_.queue_requests(1).Value();
  const std::tuple<const char*, double, double> bounds[] = {
      {"requests in flight", metrics_.requests_in_flight.Value(), limits.max_requests},
      {"sequences in flight", metrics_.sequences_in_flight.Value(), limits.max_sequences},
      {"requests in the queue", num_queued, limits.queue.max_requests},
      {"tokens in the queue", metrics_.queue_tokens.Value(), static_cast<double>(limits.queue.max_tokens)}};
  for (const auto& [what, value, limit] : bounds) {
    if (value > (at_rest ? 0 : limit) || value < 0) return absl::StrCat(value, " ", what);
  }
  return "";
}

void RouterHost::use(const std::vector<std::string>& leads) {
  pool_.use(leads);
  loop_.poll();
}

void RouterHost::cancel(router::GenerationId id) {
  generator_.cancel(id);
  loop_.poll();
}

}  // namespace octet::simulation
