#include "worker/config.h"

#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/flags.h"

namespace octet::worker {
namespace {

constexpr int kMaxStages = 1024;

void add_model_flags(Flags& flags, WorkerConfig& c) {
  flags.add_text("model", &c.model_dir,
                 "The folder with config.json and the safetensors checkpoint. Required.");
  flags.add_text("model-name", &c.model_name,
                 "The name that clients use for the model. Default: the folder's name.");
  flags.add_switch(
      "check-model", &c.check_model,
      "Reads and checks this stage's part of the model, says what it holds and ends without serving.");
}

void add_shape_flags(Flags& flags, WorkerConfig& c) {
  flags.add_number("stage", &c.stage, 0, kMaxStages - 1,
                   "Which pipeline stage this worker is. Stage 0 is the lead, which routers connect to.");
  flags.add_number("stages", &c.num_stages, 1, kMaxStages, "Stages in the pipeline.");
  flags.add_number("tp", &c.num_ranks, 1, 64, "Tensor-parallel ranks in each stage.");
  flags.add_list(
      "layers-per-stage", &c.layers_per_stage, 1, 1 << 20,
      "How many layers each stage holds, such as 4,4. The same on all workers. Default: balanced by bytes.");
  flags.add_text("lead", &c.lead_address,
                 "HOST:PORT of the lead stage. Required on every stage but stage 0, which ignores it.");
}

void add_compute_flags(Flags& flags, WorkerConfig& c, std::vector<std::string> backends) {
  backends.insert(backends.begin(), "cpu");
  backends.push_back("simulated");
  flags.add_choice(
      "backend", &c.backend, backends,
      "What computes the model. cuda: a GPU for each rank, those that CUDA_VISIBLE_DEVICES shows. simulated: "
      "nothing is computed; made-up tokens, which a client can verify, come at the pace of "
      "--simulated-step-time "
      "and --simulated-token-time. Only config.json is read.");
  flags.add_duration("simulated-step-time", &c.simulated_step_time, Duration::zero(), std::chrono::minutes(1),
                     "With --backend simulated: what this stage takes for a step.");
  flags.add_duration(
      "simulated-token-time", &c.simulated_token_time, Duration::zero(), std::chrono::minutes(1),
      "With --backend simulated: what this stage takes besides for each token of a step, prefill and "
      "decode alike.");
  flags.add_number(
      "threads-per-rank", &c.threads_per_rank, 0, 256,
      "Threads of one rank of the cpu backend. 0 means the CPUs that this process may use, by its "
      "affinity and its cgroup's quota, divided by the ranks; several workers on one machine "
      "should be given their share.");
  flags.add_choice(
      "pin-threads", &c.pin_threads, {"auto", "on", "off"},
      "Whether each thread of the cpu backend keeps to one CPU. auto: where the stage has as many "
      "threads as this process has CPUs.");
  flags.add_choice("cpu-isa", &c.cpu_isa, {"auto", "avx2", "avx512", "avx512_bf16"},
                   "The instruction set of the cpu backend. auto: the widest that this machine has. All give "
                   "the same bits.");
  flags.add_choice("weights", &c.weights, {"auto", "bf16", "int8", "fp8"},
                   "What the weights of the linear layers are converted to at load. auto: as the checkpoint "
                   "stores them. Weights that it stores in fp32 stay so, and exact, with auto and bf16.");
  flags.add_choice(
      "activations", &c.activations, {"bf16", "fp32"},
      "What the linear layers read their inputs as. bf16: faster; the weights are packed at load "
      "(with --weights int8, activations are int8 too). fp32: nothing is rounded and nothing "
      "packed; not with int8 or fp8 weights.");
  flags.add_switch(
      "deterministic", &c.deterministic,
      "Keeps a sequence's bits from depending on what else is in its batches, on GPUs, for some of "
      "their speed. The cpu backend always does.");
  flags.add_choice("kv-cache-dtype", &c.kv_cache_dtype, {"auto", "bf16", "fp32"},
                   "The type of the KV cache, and of what attention multiplies. auto: bf16, or fp32 where no "
                   "linear layer computes in less.");
}

void add_network_flags(Flags& flags, WorkerConfig& c) {
  flags.add_text("host", &c.host, "The address that all ports listen on.");
  flags.add_number("port", &c.port, 0, 65535, "The gRPC port. 0 takes any free one.");
  flags.add_number("metrics-port", &c.metrics_port, 0, 65535,
                   "The HTTP port of /metrics, /live and /ready. 0 takes any free one.");
  flags.add_number("link-port", &c.link_port, 0, 65535,
                   "The TCP port that takes the previous stage's activations. 0 takes any free one.");
  flags.add_text(
      "advertise-host", &c.advertise_host,
      "The host that the other stages reach this worker by. Default: 127.0.0.1 when --lead is on this "
      "machine's loopback address, else the machine's host name.");
  add_metrics_tls_flags(flags, c.metrics_tls);
  add_cluster_tls_flags(flags, c.cluster);
  flags.add_text("port-file", &c.port_file,
                 "A file to write the bound ports to, as JSON, once all are bound. Default: none.");
}

void add_batching_flags(Flags& flags, WorkerConfig& c) {
  flags.add_number("block-size", &c.block_size, 1, 1024,
                   "Tokens in a block of the KV cache. The same on all workers.");
  flags.add_number("kv-cache-mib", &c.kv_cache_mib, 0, int64_t{1} << 30,
                   "Memory of this stage's KV cache in MiB, over all its ranks. 0: on GPUs, all that weights "
                   "and activations leave; on the CPU 256.");
  flags.add_number(
      "max-batch-tokens", &c.max_batch_tokens, 1, 1 << 20,
      "Most tokens that one micro-batch computes, prefill and decode together. On no stage less than on "
      "the lead.");
  flags.add_choice(
      "prefix-cache", &c.prefix_cache, {"on", "off"},
      "Whether a prompt reuses the blocks of the KV cache that hold its beginning (lead). It changes "
      "no token and no log-probability where bits do not depend on batches: see --deterministic.");
  flags.add_number("max-sequences", &c.max_running_sequences, 1, 1 << 20,
                   "Most sequences that run at a time (lead).");
  flags.add_number("max-waiting", &c.max_waiting_sequences, 1, 1 << 20,
                   "Most sequences that wait to run; more are refused (lead).");
  flags.add_number("micro-batches", &c.max_micro_batches, 0, 4096,
                   "Most micro-batches in flight (lead). 0 means as many as stages.");
}

void add_time_flags(Flags& flags, WorkerConfig& c) {
  using std::chrono::hours;
  using std::chrono::milliseconds;
  flags.add_duration("step-timeout", &c.step_timeout, milliseconds(10), hours(1),
                     "How long one step may take before the lead gives the epoch up and forms a new one.");
  flags.add_duration(
      "join-timeout", &c.join_timeout, milliseconds(10), hours(1),
      "How long the stages may take to build the links of an epoch, and as long again to warm up; on GPUs, "
      "also how long a stage's may take to find each other.");
  flags.add_duration(
      "drain-timeout", &c.drain_timeout, Duration::zero(), hours(24),
      "How long running sequences may take to end after SIGTERM or SIGINT. A second signal ends the "
      "process at once.");
  flags.add_choice("log-level", &c.log_level, {"trace", "debug", "info", "warning", "error"},
                   "The least severe lines.");
}

bool is_loopback(const std::string& address) {
  return address.starts_with("127.") || address.starts_with("localhost:") || address.starts_with("[::1]:");
}

std::string default_advertise_host(const WorkerConfig& config) {
  char name[256] = {};
  if (config.stage == 0 || is_loopback(config.lead_address) || gethostname(name, sizeof name - 1) != 0) {
    return "127.0.0.1";
  }
  return name;
}

absl::Status check(const WorkerConfig& c) {
  if (c.model_dir.empty()) return absl::InvalidArgumentError("--model: a folder is required");
  if (c.stage >= c.num_stages) {
    return absl::InvalidArgumentError(
        absl::StrCat("--stage: must be below --stages, which is ", c.num_stages, ", given ", c.stage));
  }
  if (c.stage > 0 && c.lead_address.find(':') == std::string::npos) {
    return absl::InvalidArgumentError(absl::StrCat("--lead: HOST:PORT of stage 0 is required on stage ",
                                                   c.stage, ", given '", c.lead_address, "'"));
  }
  if (!c.layers_per_stage.empty() && c.layers_per_stage.size() != static_cast<size_t>(c.num_stages)) {
    return absl::InvalidArgumentError(absl::StrCat("--layers-per-stage: needs one number for each of the ",
                                                   c.num_stages, " stages, given ",
                                                   c.layers_per_stage.size()));
  }
  if (c.activations == "fp32" && (c.weights == "int8" || c.weights == "fp8")) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--activations: fp32 takes the weights as the checkpoint has them, not --weights ", c.weights));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::optional<WorkerConfig>> read_worker_config(
    int argc, const char* const* argv, const std::vector<std::string>& other_backends) {
  WorkerConfig config;
  Flags flags("octet-worker",
              "Holds one stage of a Nemotron model's pipeline and computes it. Start one worker a stage: "
              "stage 0, the "
              "lead, schedules the work of all; the others register with it.");
  add_model_flags(flags, config);
  add_shape_flags(flags, config);
  add_compute_flags(flags, config, other_backends);
  add_network_flags(flags, config);
  add_batching_flags(flags, config);
  add_time_flags(flags, config);
  const absl::StatusOr<Flags::Outcome> outcome = flags.parse(argc, argv);
  if (!outcome.ok()) return outcome.status();
  if (*outcome == Flags::Outcome::kHelpPrinted) return std::optional<WorkerConfig>();
  if (absl::Status status = check(config); !status.ok()) return status;
  if (config.max_micro_batches == 0) config.max_micro_batches = static_cast<uint32_t>(config.num_stages);
  if (config.advertise_host.empty()) config.advertise_host = default_advertise_host(config);
  return std::optional<WorkerConfig>(std::move(config));
}

}  // namespace octet::worker
