// What a worker is told at its start: flags, configuration file and environment.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/credentials.h"

namespace octet::worker {

struct WorkerConfig {
  std::string model_dir;
  std::string model_name;  // empty: the folder's name
  int stage = 0;
  int num_stages = 1;
  int num_ranks = 1;  // tensor-parallel size
  std::string backend = "cpu";
  Duration simulated_step_time{};
  Duration simulated_token_time{};
  int threads_per_rank = 0;             // 0: the CPUs of this process, divided by the ranks
  std::string pin_threads = "auto";     // auto, on, off
  std::string cpu_isa = "auto";         // auto, avx2, avx512, avx512_bf16
  std::string weights = "auto";         // auto, bf16, int8, fp8
  std::string activations = "bf16";     // bf16, fp32
  std::string kv_cache_dtype = "auto";  // auto, bf16, fp32
  bool deterministic = false;
  std::vector<int> layers_per_stage;  // empty: balanced
  std::string lead_address;

  std::string host = "0.0.0.0";
  int port = 50061;
  int metrics_port = 9401;
  int link_port = 0;
  std::string advertise_host;
  std::string port_file;
  TlsPaths metrics_tls = metrics_tls_paths();
  TlsPaths cluster = cluster_tls_paths();

  uint32_t block_size = 16;
  uint32_t max_batch_tokens = 256;
  uint32_t max_running_sequences = 256;
  uint32_t max_waiting_sequences = 4096;
  uint32_t max_micro_batches = 0;   // 0: as many as stages
  int64_t kv_cache_mib = 0;         // 0: see --help
  std::string prefix_cache = "on";  // on, off

  Duration step_timeout = std::chrono::seconds(10);
  Duration join_timeout = std::chrono::seconds(30);
  Duration drain_timeout = std::chrono::seconds(30);

  std::string log_level = "info";
  bool check_model = false;
};

// nullopt when --help was printed. Errors: INVALID_ARGUMENT in one line that names the flag.
// other_backends: what --backend may be beside cpu.
absl::StatusOr<std::optional<WorkerConfig>> read_worker_config(
    int argc, const char* const* argv, const std::vector<std::string>& other_backends = {});

}  // namespace octet::worker
