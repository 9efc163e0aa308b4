#include "router/routing/merge_outputs.h"

#include <unordered_map>
#include <utility>

#include "router/routing/sequence_output.h"

namespace octet::router {

v1::SubmitResponse in_one(std::vector<v1::SubmitResponse> responses) {
  v1::SubmitResponse one;
  std::unordered_map<uint64_t, int> positions;
  for (v1::SubmitResponse& response : responses) {
    for (v1::SequenceOutput& output : *response.mutable_outputs()) {
      const auto [position, is_new] = positions.try_emplace(output.sequence_id(), one.outputs_size());
      if (is_new) {
        *one.add_outputs() = std::move(output);
        continue;
      }
      v1::SequenceOutput& so_far = *one.mutable_outputs(position->second);
      if (!is_last(so_far)) so_far.MergeFrom(output);  // appends lists, sets what is set
    }
  }
  return one;
}

}  // namespace octet::router
