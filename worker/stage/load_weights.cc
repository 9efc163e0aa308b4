#include "worker/stage/load_weights.h"

#include <utility>

#include "worker/checkpoint/page_advice.h"
#include "worker/model/device_weights.h"
#include "worker/model/pack_weights.h"
#include "worker/stage/load_progress.h"

namespace octet::worker {

absl::StatusOr<StageWeights> load_weights(const Checkpoint& checkpoint, const ModelConfig& model,
                                          LayerRange layers, const WeightOptions& options,
                                          std::span<const std::unique_ptr<kernels::Backend>> backends,
                                          RankThreads& threads) {
  const auto plan = plan_weights(checkpoint, model, layers, options);
  if (!plan.ok()) return plan.status();
  const size_t num_ranks = backends.size();
  LoadProgress progress(plan->num_packed * static_cast<int64_t>(num_ranks));
  const auto observe = [&](const StoredMatrix& stored, const kernels::PackedWeight& packed) {
    progress.add(stored.values.num_elements() * size_of(stored.values.dtype()), packed);
  };
  std::vector<absl::StatusOr<RankWeights>> loaded(num_ranks);
  threads.run([&](int rank) {
    const auto r = static_cast<size_t>(rank);
    for (size_t i = r; i < plan->in_place.size(); i += num_ranks) populate(plan->in_place[i]);
    loaded[r] = load_rank_weights(checkpoint, model, layers, options, *backends[r], observe);
    if (!loaded[r].ok()) return;
    if (absl::Status status = move_to_device(*loaded[r], *backends[r]); !status.ok()) loaded[r] = status;
  });
  StageWeights weights;
  for (absl::StatusOr<RankWeights>& rank : loaded) {
    if (!rank.ok()) return rank.status();
    weights.ranks.push_back(*std::move(rank));
  }
  progress.finish();
  weights.resident_bytes = plan->in_place_bytes + progress.packed_bytes();
  return weights;
}

}  // namespace octet::worker
