// Reads tests/golden/logits.safetensors: prompts, and the logits that transformers gives for their last
// positions.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "worker/checkpoint/mapped_file.h"
#include "worker/checkpoint/safetensors_header.h"

namespace octet::worker {

struct GoldenLogits {
  std::vector<int32_t> tokens;  // [T]
  std::vector<float> logits;    // [num_rows, vocab_size], of the last positions
  int64_t num_rows = 0;
};

inline std::vector<GoldenLogits> read_golden_logits() {
  const std::string path = "tests/golden/logits.safetensors";
  const auto file = MappedFile::open(path).value();
  const TensorRecords records = read_safetensors_header(file->bytes(), path).value();
  const auto copy = [&](const TensorRecord& record, auto& values) {
    values.resize(record.num_bytes / sizeof values[0]);
    std::memcpy(values.data(), file->bytes().data() + record.offset, record.num_bytes);
  };
  std::vector<GoldenLogits> all;
  for (int i = 0; records.count("ids." + std::to_string(i)) > 0; ++i) {
    const TensorRecord& logits = records.at("logits." + std::to_string(i));
    GoldenLogits golden;
    copy(records.at("ids." + std::to_string(i)), golden.tokens);
    copy(logits, golden.logits);
    golden.num_rows = logits.shape[0];
    all.push_back(std::move(golden));
  }
  return all;
}

}  // namespace octet::worker
