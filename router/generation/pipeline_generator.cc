#include "router/generation/pipeline_generator.h"

#include <boost/asio/post.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "router/generation/running_request.h"

namespace octet::router {
namespace {

constexpr Duration kRetryAfter = std::chrono::seconds(1);

}  // namespace

PipelineGenerator::PipelineGenerator(boost::asio::io_context& loop, Pipelines& pipelines,
                                     std::shared_ptr<const Tokenizer> tokenizer, RouterMetrics& metrics,
                                     const Limits& limits)
    : loop_(loop),
      pipelines_(pipelines),
      tokenizer_(std::move(tokenizer)),
      metrics_(metrics),
      limits_(limits) {}

PipelineGenerator::~PipelineGenerator() = default;

GenerationId PipelineGenerator::start(ValidatedRequest request, std::shared_ptr<GenerationSink> sink) {
  const Time arrival = now();
  const GenerationId id = next_id_++;
  absl::Status status = admit(request.num_choices);
  if (status.ok()) {
    const uint32_t num_sequences = request.num_choices;
    auto running = std::make_shared<RunningRequest>(
        RunningRequest::Surroundings{loop_, pipelines_, tokenizer_, metrics_, limits_.deadline_grace},
        std::move(request), sink, arrival, [this, id] { remove(id); });
    status = running->start();
    if (status.ok()) {
      num_sequences_ += num_sequences;
      running_.emplace(id, Entry{std::move(running), num_sequences});
    } else {
      running->cancel();
    }
  }
  if (!status.ok()) {
    refused_.emplace(id, std::move(sink));
    boost::asio::post(loop_, [this, id, status] {
      if (auto refused = refused_.extract(id)) refused.mapped()->on_error(status);
    });
  }
  return id;
}

void PipelineGenerator::cancel(GenerationId id) {
  refused_.erase(id);
  const auto entry = running_.find(id);
  if (entry == running_.end()) return;
  const auto running = entry->second.request;
  remove(id);
  running->cancel();
}

absl::Status PipelineGenerator::admit(uint32_t num_sequences) const {
  if (draining_) return unavailable("the router is shutting down", kRetryAfter);
  if (running_.size() >= limits_.max_requests) {
    return overloaded(
        absl::StrCat("the router has its limit of ", limits_.max_requests, " requests in flight"),
        kRetryAfter);
  }
  if (num_sequences_ + num_sequences > limits_.max_sequences) {
    return overloaded(absl::StrCat("the router has ", num_sequences_, " sequences in flight, of at most ",
                                   limits_.max_sequences, "; the request has ", num_sequences),
                      kRetryAfter);
  }
  return absl::OkStatus();
}

void PipelineGenerator::remove(GenerationId id) {
  const auto entry = running_.find(id);
  if (entry == running_.end()) return;
  num_sequences_ -= entry->second.num_sequences;
  running_.erase(entry);
}

}  // namespace octet::router
