// Headers of safetensors files, and their index: every tensor inside the file and apart from the others.
#include <algorithm>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "tests/fuzz/input.h"
#include "worker/checkpoint/safetensors_header.h"

namespace octet::worker {
namespace {

void check_records(const TensorRecords& records, size_t file_bytes) {
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  for (const auto& [name, record] : records) {
    OCTET_CHECK(record.offset <= file_bytes && record.num_bytes <= file_bytes - record.offset, name);
    uint64_t num_bytes = static_cast<uint64_t>(record.element_bytes);
    for (const int64_t length : record.shape) num_bytes *= static_cast<uint64_t>(length);
    OCTET_CHECK(num_bytes == record.num_bytes, name);
    if (record.num_bytes > 0) ranges.emplace_back(record.offset, record.offset + record.num_bytes);
  }
  std::sort(ranges.begin(), ranges.end());
  for (size_t i = 1; i < ranges.size(); ++i) OCTET_CHECK(ranges[i - 1].second <= ranges[i].first);
}

}  // namespace
}  // namespace octet::worker

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace octet::worker;
  octet::fuzz::Input input(data, size);
  const bool is_index = input.flag();
  const std::string_view text = input.rest();
  const std::span file(reinterpret_cast<const std::byte*>(text.data()), text.size());
  if (is_index) {
    const auto index = read_safetensors_index(file, "index");
    OCTET_CHECK(index.ok() || absl::IsInvalidArgument(index.status()), index.status());
    if (!index.ok()) return 0;
    for (const auto& [tensor, name] : *index) {
      OCTET_CHECK(!name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos, name);
    }
    return 0;
  }
  const auto records = read_safetensors_header(file, "file");
  OCTET_CHECK(records.ok() || absl::IsInvalidArgument(records.status()), records.status());
  if (records.ok()) check_records(*records, file.size());
  return 0;
}
