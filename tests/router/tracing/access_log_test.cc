#include "router/tracing/access_log.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <filesystem>
#include <fstream>

namespace octet::router {
namespace {

class AccessLogTest : public testing::Test {
 protected:
  AccessLogTest() : folder_(testing::TempDir() + "access_log_test." + std::to_string(getpid())) {
    std::filesystem::create_directories(folder_);
  }
  ~AccessLogTest() override { std::filesystem::remove_all(folder_); }

  static std::shared_ptr<const CallRecord> record(const std::string& request_id) {
    auto record = std::make_shared<CallRecord>();
    record->origin.request_id = request_id;
    return record;
  }
  std::vector<std::string> request_ids(const std::string& path) const {
    std::vector<std::string> ids;
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
      ids.emplace_back(boost::json::parse(line).at("request_id").as_string());
    }
    return ids;
  }
  std::unique_ptr<AccessLog> open(const std::string& path) { return AccessLog::open(path, metrics_).value(); }

  const std::string folder_;
  const std::string path_ = folder_ + "/access.jsonl";
  RouterMetrics metrics_;
};

using Ids = std::vector<std::string>;

TEST_F(AccessLogTest, KeepsWhatIsThereAndAddsALineForEachCall) {
  for (const auto& [first, second] : {std::pair{"a", "b"}, {"c", "d"}}) {
    const auto log = open(path_);
    log->take(record(first));
    log->take(record(second));
  }
  EXPECT_EQ(request_ids(path_), (Ids{"a", "b", "c", "d"}));
  EXPECT_EQ(metrics_.lost_access_log_lines.Value(), 0);
}

TEST_F(AccessLogTest, AFileThatWasRenamedIsBegunAnew) {
  const auto log = open(path_);
  log->take(record("old"));
  while (request_ids(path_).empty()) std::this_thread::yield();
  std::filesystem::rename(path_, path_ + ".1");
  log->take(record("new"));
  while (!std::filesystem::exists(path_) || request_ids(path_).empty()) std::this_thread::yield();
  EXPECT_EQ(request_ids(path_ + ".1"), Ids{"old"});
  EXPECT_EQ(request_ids(path_), Ids{"new"});
}

TEST_F(AccessLogTest, AFullDiskIsCounted) {
  {
    const auto log = open("/dev/full");
    for (int i = 0; i < 3; ++i) log->take(record("lost"));
  }
  EXPECT_EQ(metrics_.lost_access_log_lines.Value(), 3);
}

TEST_F(AccessLogTest, AFolderThatGoesAndComesBackCostsTheLinesBetween) {
  const auto log = open(path_);
  std::filesystem::rename(folder_, folder_ + ".away");
  log->take(record("lost"));
  while (metrics_.lost_access_log_lines.Value() == 0) std::this_thread::yield();
  std::filesystem::rename(folder_ + ".away", folder_);
  log->take(record("kept"));
  while (request_ids(path_).empty()) std::this_thread::yield();
  EXPECT_EQ(request_ids(path_), Ids{"kept"});
}

TEST_F(AccessLogTest, AFileThatCannotBeOpenedIsNamed) {
  const auto log = AccessLog::open(folder_ + "/none/access.jsonl", metrics_);
  ASSERT_FALSE(log.ok());
  EXPECT_EQ(log.status().message(),
            "--access-log: " + folder_ + "/none/access.jsonl cannot be opened: No such file or directory");
}

}  // namespace
}  // namespace octet::router
