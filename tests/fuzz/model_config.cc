// config.json of a checkpoint: what is taken can be split over stages and ranks.
#include "worker/model/model_config.h"

#include <string>

#include "base/check.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace octet::worker;
  octet::fuzz::Input input(data, size);
  const int num_stages = input.byte();
  const int num_ranks = input.byte();
  const auto config = parse_model_config(std::string(input.rest()), "config.json");
  OCTET_CHECK(config.ok() || absl::IsInvalidArgument(config.status()), config.status());
  if (!config.ok()) return 0;
  OCTET_CHECK(config->digest().size() == 16);
  OCTET_CHECK(config->num_layers > 0 && config->head_dim > 0 && config->num_heads > 0 &&
              config->num_kv_heads > 0);
  OCTET_CHECK(config->num_heads % config->num_kv_heads == 0);
  OCTET_CHECK(
      config->rotary_dim >= 0 && config->rotary_dim <= config->head_dim && config->rotary_dim % 2 == 0,
      config->rotary_dim);
  static_cast<void>(check_tensor_parallel(*config, num_ranks));
  const auto ranges = split_layers(*config, num_stages, {});
  if (!ranges.ok()) return 0;
  int32_t next = 0;
  for (const LayerRange& range : *ranges) {
    OCTET_CHECK(range.first == next && range.size() > 0, range.first, " ", range.end);
    next = range.end;
  }
  OCTET_CHECK(next == config->num_layers && static_cast<int>(ranges->size()) == num_stages, next);
  return 0;
}
