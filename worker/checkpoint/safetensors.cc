#include "worker/checkpoint/safetensors.h"

#include <algorithm>
#include <bit>
#include <map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "worker/checkpoint/mapped_file.h"
#include "worker/checkpoint/safetensors_header.h"

namespace octet::worker {

static_assert(std::endian::native == std::endian::little, "safetensors is little-endian and used in place");

namespace {

// One file with the records of its header.
struct Shard {
  std::unique_ptr<MappedFile> file;
  TensorRecords records;
};

absl::StatusOr<Shard> open_shard(const std::string& path) {
  auto file = MappedFile::open(path);
  if (!file.ok()) return file.status();
  auto records = read_safetensors_header((*file)->bytes(), path);
  if (!records.ok()) return records.status();
  return Shard{*std::move(file), *std::move(records)};
}

std::string shape_text(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

std::string shapes_text(const std::vector<std::vector<int64_t>>& shapes) {
  return absl::StrJoin(shapes, " or ", [](std::string* out, const std::vector<int64_t>& shape) {
    absl::StrAppend(out, shape_text(shape));
  });
}

}  // namespace

struct Checkpoint::Impl {
  struct Location {
    const MappedFile* file = nullptr;
    TensorRecord record;
  };

  std::string opened;  // the file that open() found, for error messages
  std::vector<std::unique_ptr<MappedFile>> files;
  std::map<std::string, Location, std::less<>> tensors;

  absl::Status open_single(const std::string& path);
  absl::Status open_index(const std::string& model_dir, const std::string& index_path);
};

absl::Status Checkpoint::Impl::open_single(const std::string& path) {
  auto shard = open_shard(path);
  if (!shard.ok()) return shard.status();
  opened = path;
  for (auto& [name, record] : shard->records)
    tensors.emplace(name, Location{shard->file.get(), std::move(record)});
  files.push_back(std::move(shard->file));
  return absl::OkStatus();
}

absl::Status Checkpoint::Impl::open_index(const std::string& model_dir, const std::string& index_path) {
  const auto index_file = MappedFile::open(index_path);
  if (!index_file.ok()) return index_file.status();
  const auto file_of_tensor = read_safetensors_index((*index_file)->bytes(), index_path);
  if (!file_of_tensor.ok()) return file_of_tensor.status();
  opened = index_path;

  std::map<std::string, Shard> shards;
  for (const auto& [name, file_name] : *file_of_tensor) {
    auto shard = shards.find(file_name);
    if (shard == shards.end()) {
      auto loaded = open_shard(absl::StrCat(model_dir, "/", file_name));
      if (!loaded.ok()) return loaded.status();
      shard = shards.emplace(file_name, *std::move(loaded)).first;
    }
    const auto record = shard->second.records.find(name);
    if (record == shard->second.records.end()) {
      return absl::InvalidArgumentError(absl::StrCat(index_path, ": tensor ", quoted(name), ": its file ",
                                                     quoted(file_name), " does not hold it"));
    }
    tensors.emplace(name, Location{shard->second.file.get(), record->second});
  }
  for (auto& [file_name, shard] : shards) files.push_back(std::move(shard.file));
  return absl::OkStatus();
}

Checkpoint::Checkpoint(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Checkpoint::~Checkpoint() = default;

absl::StatusOr<std::unique_ptr<Checkpoint>> Checkpoint::open(const std::string& model_dir) {
  const std::string single = absl::StrCat(model_dir, "/model.safetensors");
  const std::string index = absl::StrCat(single, ".index.json");
  auto impl = std::make_unique<Impl>();
  absl::Status status = impl->open_single(single);
  if (absl::IsNotFound(status)) {
    status = impl->open_index(model_dir, index);
    // A missing shard is not found either, so the index's own absence is told apart by its name.
    if (absl::IsNotFound(status) && impl->opened.empty()) {
      status = absl::NotFoundError(absl::StrCat(model_dir,
                                                ": holds neither model.safetensors nor "
                                                "model.safetensors.index.json"));
    }
  }
  if (!status.ok()) return status;
  return std::unique_ptr<Checkpoint>(new Checkpoint(std::move(impl)));
}

absl::StatusOr<TensorEntry> Checkpoint::tensor(std::string_view name,
                                               const std::vector<int64_t>& shape) const {
  return tensor(name, {shape}, {"BF16", "F32"});
}

absl::StatusOr<TensorEntry> Checkpoint::tensor(std::string_view name,
                                               const std::vector<std::vector<int64_t>>& shapes,
                                               const std::vector<std::string>& dtypes) const {
  const std::string shown = quoted({name.data(), name.size()});
  const auto found = impl_->tensors.find(name);
  if (found == impl_->tensors.end()) {
    return absl::NotFoundError(absl::StrCat(impl_->opened, ": lacks tensor ", shown));
  }
  const MappedFile* const file = found->second.file;
  const TensorRecord& record = found->second.record;
  const auto refuse = [&](const std::string& what) {
    return absl::InvalidArgumentError(absl::StrCat(file->path(), ": tensor ", shown, ": ", what));
  };
  if (std::find(shapes.begin(), shapes.end(), record.shape) == shapes.end()) {
    return refuse(absl::StrCat("has shape ", shape_text(record.shape), ", expected ", shapes_text(shapes)));
  }
  if (std::find(dtypes.begin(), dtypes.end(), record.dtype) == dtypes.end()) {
    return refuse(absl::StrCat("has dtype ", record.dtype, ", expected ", absl::StrJoin(dtypes, " or ")));
  }
  // The mapping starts on a page, so the offset alone decides.
  if (record.offset % static_cast<uint64_t>(record.element_bytes) != 0) {
    return refuse(absl::StrCat("starts at byte ", record.offset,
                               ", which is not a multiple of its element size ", record.element_bytes));
  }
  TensorEntry entry;
  entry.dtype = record.dtype;
  entry.shape = record.shape;
  entry.data = file->bytes().data() + record.offset;
  entry.num_bytes = static_cast<int64_t>(record.num_bytes);
  entry.file = file->path();
  return entry;
}

}  // namespace octet::worker
