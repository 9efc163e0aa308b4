// octet-bench-model: one stage with a whole model in one process, computing cases on demand. Reads lines from
// standard input and answers each with one line of JSON; peers/llama_program.py understands the same words:
//   generate SEQUENCES PROMPT STEPS    prompts of so many tokens each, then so many tokens for every sequence
//   logits PATH TOKENS                 log-probabilities after each token of one prompt, [TOKENS, vocabulary]
//   fp32
// Exit status: 0 at the end of the input, 1 after a failure, 2 for bad flags.
#include <unistd.h>

#include <fstream>
#include <iostream>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "base/flags.h"
#include "base/log.h"
#include "tools/bench/model/stage_driver.h"
#include "tools/bench/process_memory.h"

namespace octet::bench {
namespace {

struct Options {
  worker::StageConfig stage;
  std::string weights = "auto";
  std::string activations = "bf16";
  std::string kv_cache_dtype = "auto";
  std::string cpu_isa = "auto";
  int64_t kv_cache_mib = 512;
};

void add_flags(Flags& flags, Options& options) {
  worker::StageConfig& stage = options.stage;
  flags.add_text("model", &stage.model_dir, "The folder with config.json and safetensors files. Required.");
  flags.add_number("tp", &stage.num_ranks, 1, 64, "Tensor-parallel ranks.");
  flags.add_number("threads-per-rank", &stage.threads_per_rank, 0, 256,
                   "Compute threads of each rank. 0: the CPUs of this process, divided by the ranks.");
  flags.add_choice("cpu-isa", &options.cpu_isa, {"auto", "avx2", "avx512", "avx512_bf16"},
                   "The instruction set.");
  flags.add_choice("weights", &options.weights, {"auto", "bf16", "int8", "fp8"},
                   "What the weights of the linear layers are converted to at load.");
  flags.add_choice("kv-cache-dtype", &options.kv_cache_dtype, {"auto", "bf16", "fp32"},
                   "The type of the KV cache. auto: as octet-worker's.");
  flags.add_choice("activations", &options.activations, {"bf16", "fp32"},
                   "What the linear layers read their inputs as.");
  flags.add_number("block-size", &stage.block_size, 1, 1024, "Tokens in a block of the KV cache.");
  flags.add_number("max-batch-tokens", &stage.max_batch_tokens, 1, 1 << 20, "Rows of a prefill step.");
  flags.add_number("kv-cache-mib", &options.kv_cache_mib, 1, int64_t{1} << 30,
                   "Memory of the KV cache in MiB.");
}

// The stage's configuration, the words of the flags understood.
worker::StageConfig stage_config(const Options& options) {
  worker::StageConfig stage = options.stage;
  stage.weights = worker::weight_options_named(options.weights, options.activations);
  stage.kv_cache_type = worker::kv_cache_type_named(options.kv_cache_dtype);
  stage.cpu_isa = kernels::cpu_isa_named(options.cpu_isa);
  stage.kv_cache_bytes = options.kv_cache_mib << 20;
  return stage;
}

// Whole memory of this process, the mapped checkpoint's pages included.
int64_t resident() {
  return static_cast<int64_t>(resident_bytes(getpid()).value_or(0));
}

void say(const std::string& json) {
  std::cout << json << std::endl;
}

absl::StatusOr<std::string> generate(StageDriver& driver, std::istringstream& words) {
  GenerateCase run;
  words >> run.num_sequences >> run.num_prompt_tokens >> run.num_steps;
  if (!words || run.num_sequences == 0 || run.num_prompt_tokens == 0) {
    return absl::InvalidArgumentError("usage: generate SEQUENCES PROMPT STEPS");
  }
  const absl::StatusOr<GenerateTimes> times = driver.generate(run);
  if (!times.ok()) return times.status();
  return absl::StrFormat(
      R"({"prefill_tokens": %d, "prefill_seconds": %.6f, "decode_tokens": %d, "decode_seconds": %.6f, )"
      R"("least_step_seconds": %.6f, "resident_bytes": %d})",
      run.num_sequences * run.num_prompt_tokens, times->prefill_seconds, run.num_sequences * run.num_steps,
      times->decode_seconds, times->least_step_seconds, resident());
}

absl::StatusOr<std::string> write_logprobs(StageDriver& driver, std::istringstream& words) {
  std::string path;
  uint32_t num_rows = 0;
  words >> path >> num_rows;
  if (!words || num_rows == 0) return absl::InvalidArgumentError("usage: logits PATH TOKENS");
  const absl::StatusOr<std::vector<float>> values = driver.logprobs(num_rows);
  if (!values.ok()) return values.status();
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(values->data()),
             static_cast<std::streamsize>(values->size() * sizeof(float)));
  file.close();
  if (!file) return absl::UnavailableError(absl::StrCat(path, ": cannot be written"));
  return absl::StrFormat(R"({"rows": %d, "vocabulary": %d})", num_rows, values->size() / num_rows);
}

absl::StatusOr<std::string> answer(StageDriver& driver, const std::string& line) {
  std::istringstream words(line);
  std::string word;
  words >> word;
  if (word == "generate") return generate(driver, words);
  if (word == "logits") return write_logprobs(driver, words);
  return absl::InvalidArgumentError(absl::StrCat("unknown word '", word, "'"));
}

absl::Status run(const Options& options) {
  const Time began = now();
  const absl::StatusOr<std::unique_ptr<worker::Stage>> stage = worker::Stage::load(stage_config(options));
  if (!stage.ok()) return stage.status();
  const double load_seconds = seconds(now() - began);
  say(absl::StrFormat(R"({"load_seconds": %.3f, "weight_bytes": %d, "resident_bytes": %d})", load_seconds,
                      (*stage)->shape().weight_bytes, resident()));
  StageDriver driver(**stage);
  for (std::string line; std::getline(std::cin, line);) {
    const absl::StatusOr<std::string> json = answer(driver, line);
    if (!json.ok()) return json.status();
    say(*json);
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace octet::bench

int main(int argc, char** argv) {
  octet::Flags flags("octet-bench-model", "Computes with a whole model in one process, as its input says.");
  octet::bench::Options options;
  octet::bench::add_flags(flags, options);
  const auto refuse = [](const absl::Status& status, int exit_status) {
    std::cerr << "octet-bench-model: " << status.message() << "\n";
    return exit_status;
  };
  const absl::StatusOr<octet::Flags::Outcome> outcome = flags.parse(argc, argv);
  if (!outcome.ok()) return refuse(outcome.status(), 2);
  if (*outcome == octet::Flags::Outcome::kHelpPrinted) return 0;
  if (options.stage.model_dir.empty()) {
    return refuse(absl::InvalidArgumentError("--model: a folder is required"), 2);
  }
  octet::start_logging("bench-model", "info");
  const absl::Status status = octet::bench::run(options);
  return status.ok() ? 0 : refuse(status, 1);
}
