#include "worker/checkpoint/page_advice.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "tests/worker/checkpoint/checkpoint_writer.h"
#include "worker/checkpoint/mapped_file.h"

namespace octet::worker {
namespace {

TEST(PageAdvice, BytesStayTheSameWhateverIsAdvised) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  TemporaryFolder folder;
  std::string content(4 * page + 10, '\0');
  for (size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i % 251);
  folder.write("file", content);
  const auto file = MappedFile::open(folder.file("file")).value();
  const std::span<const std::byte> bytes = file->bytes();
  for (const auto& [first, size] :
       {std::pair<size_t, size_t>(0, bytes.size()), {1, 0}, {5, 100}, {page - 1, 2 * page}, {3, 3 * page}}) {
    const std::span<const std::byte> part = bytes.subspan(first, size);
    read_ahead(part);
    populate(part);
    drop_pages(part);
    EXPECT_EQ(std::memcmp(bytes.data(), content.data(), content.size()), 0) << first << " " << size;
  }
}

}  // namespace
}  // namespace octet::worker
