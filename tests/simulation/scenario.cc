#include "tests/simulation/scenario.h"

#include <algorithm>

#include "tests/simulation/lead_connection.h"

namespace octet::simulation {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Draws values of a scenario; of its own, so that a new kind of event in the run changes no scenario.
class Draw {
 public:
  explicit Draw(uint64_t seed) : random_(seed ^ 0x5CE7A210) {}
  uint64_t between(uint64_t low, uint64_t high) { return low + random_() % (high - low + 1); }
  template <typename Unit>
  Duration time(Unit low, Unit high) {
    return Duration(static_cast<int64_t>(between(static_cast<uint64_t>(Duration(low).count()),
                                                 static_cast<uint64_t>(Duration(high).count()))));
  }
  bool chance(double probability) { return part() < probability; }
  double part() { return static_cast<double>(random_() >> 11) * 0x1p-53; }

 private:
  std::mt19937_64 random_;
};

PipelineShape draw_pipeline(Draw& draw, const worker::ModelConfig& model) {
  PipelineShape shape;
  shape.num_stages = static_cast<int>(draw.between(1, 3));
  shape.num_ranks = static_cast<int>(draw.between(1, 2));
  shape.block_size = static_cast<uint32_t>(draw.chance(0.5) ? 4 : 8);
  shape.model = model;
  shape.model.max_model_len = static_cast<int32_t>(draw.between(48, 120));
  const auto least = static_cast<uint32_t>(shape.model.max_model_len) / shape.block_size + 2;
  shape.num_blocks =
      least + static_cast<uint32_t>(draw.chance(0.5) ? draw.between(0, 10) : draw.between(10, 100));
  shape.max_batch_tokens = static_cast<uint32_t>(draw.between(8, 64));
  shape.step_time = draw.time(milliseconds(1), milliseconds(10));
  shape.token_time = draw.time(milliseconds(0), milliseconds(1));
  shape.step_timeout = draw.time(milliseconds(500), milliseconds(3000));

  return shape;
}

worker::Engine::Config draw_engine(Draw& draw, const PipelineShape& pipeline) {
  worker::Engine::Config engine;
  engine.scheduler.block_size = pipeline.block_size;
  engine.scheduler.max_batch_tokens = pipeline.max_batch_tokens;
  engine.scheduler.max_running_sequences = static_cast<uint32_t>(draw.between(2, 64));
  engine.scheduler.max_model_len = static_cast<uint32_t>(pipeline.model.max_model_len);
  engine.scheduler.vocab_size = static_cast<uint32_t>(pipeline.model.vocab_size);
  engine.scheduler.max_micro_batches =
      static_cast<uint32_t>(pipeline.num_stages) + static_cast<uint32_t>(draw.between(0, 1));
  engine.scheduler.prefix_cache = draw.chance(0.8);
  engine.step_timeout = pipeline.step_timeout;
  engine.join_timeout = draw.time(milliseconds(1000), milliseconds(5000));
  return engine;
}

RouterSettings draw_router(Draw& draw, int num_pipelines, uint32_t vocab_size) {
  RouterSettings router;
  router.pool.vocab_size = vocab_size;
  router.pool.room.max_sequences = draw.between(2, 64);
  router.pool.room.max_prompt_tokens = draw.between(64, 2048);
  router.pool.client.watch_interval = draw.time(milliseconds(100), milliseconds(400));
  router.pool.client.silence_timeout = draw.time(seconds(2), seconds(10));
  router.pool.client.connect = connect_by_network();
  router.limits.max_requests = static_cast<uint32_t>(draw.chance(0.3) ? draw.between(4, 20) : 2048);
  router.limits.max_sequences = static_cast<uint32_t>(draw.chance(0.3) ? draw.between(8, 40) : 4096);
  router.limits.queue.max_requests = static_cast<uint32_t>(draw.chance(0.3) ? draw.between(1, 10) : 1024);
  router.limits.queue.max_tokens = draw.chance(0.3) ? draw.between(100, 1000) : 1'000'000;
  router.limits.moves.max_in_a_row = 1000;  // or what fails again and again would end requests
  for (int i = 0; i < num_pipelines; ++i) router.leads.push_back("lead" + std::to_string(i) + ":50061");
  return router;
}

Network::Weather draw_weather(Draw& draw) {
  Network::Weather weather;
  weather.max_delay =
      draw.chance(0.7) ? Duration(milliseconds(1)) : draw.time(milliseconds(1), milliseconds(50));
  weather.spike_probability = draw.chance(0.5) ? 0 : draw.part() * 0.02;
  weather.slow_connections = draw.chance(0.5) ? 0 : draw.part() * 0.2;
  weather.max_spike = draw.time(milliseconds(10), milliseconds(1000));
  return weather;
}

}  // namespace

std::string_view name_of(Fault fault) {
  static constexpr std::string_view kNames[kNumFaults] = {
      "kill-router",  "kill-lead",     "kill-stage",   "lose-machine", "freeze-router", "freeze-lead",
      "freeze-stage", "replace-stage", "cut-stage",    "cut-router",   "reset-stage",   "reset-router",
      "leap",         "drain-lead",    "drain-router", "fail-step",    "slow-stage",    "forget-lead"};
  return kNames[static_cast<size_t>(fault)];
}

Scenario::Scenario(uint64_t drawn_from, const worker::ModelConfig& model, uint32_t vocab_size)
    : seed(drawn_from) {
  Draw draw(seed);
  num_routers = static_cast<int>(draw.between(1, 3));
  num_pipelines = static_cast<int>(draw.between(1, 3));
  pipeline = draw_pipeline(draw, model);
  engine = draw_engine(draw, pipeline);
  router = draw_router(draw, num_pipelines, vocab_size);
  weather = draw_weather(draw);

  load_time = draw.time(seconds(2), seconds(10));
  num_requests = static_cast<int>(draw.between(5, 60));
  long_prompts = draw.part();
  shared_beginnings = draw.part();
  cancels = draw.chance(0.5) ? draw.part() * 0.4 : 0;
  deadlines = draw.chance(0.5) ? draw.part() * 0.6 : 0;
  many_choices = draw.part() * 0.5;

  const int num_kinds = draw.chance(0.1) ? 0 : static_cast<int>(draw.between(1, 4));
  while (static_cast<int>(faults.size()) < num_kinds)
    faults.insert(static_cast<Fault>(draw.between(0, kNumFaults - 1)));
  num_faults = faults.empty() ? 0 : static_cast<int>(draw.between(1, 12));
  max_downtime = draw.time(milliseconds(50), milliseconds(3000));
  if (faults.contains(Fault::kFreezeRouter) && weather.spike_probability + weather.slow_connections == 0) {
    pipeline.max_messages_on_the_way = draw.between(100, 1000);
  }
  max_freeze = draw.time(milliseconds(50), milliseconds(20000));
}

}  // namespace octet::simulation
