#include "router/access/access.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/status.h"

namespace octet::router {
namespace {

class AccessTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "octet-keys-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    path_ = folder_ + "/keys.jsonl";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& text) const {
    std::ofstream(path_ + ".part") << text << "\n";
    ASSERT_EQ(std::rename((path_ + ".part").c_str(), path_.c_str()), 0);
  }
  std::unique_ptr<Access> open() { return Access::open(path_, metrics_, Duration::zero()).value(); }

  RouterMetrics metrics_;
  std::string folder_;
  std::string path_;
};

TEST_F(AccessTest, NamesTheFileThatCannotBeUsed) {
  EXPECT_EQ(text_of(Access::open(path_, metrics_).status()),
            "--api-keys: " + path_ + " cannot be read: No such file or directory");
  write("# nobody");
  EXPECT_EQ(text_of(Access::open(path_, metrics_).status()), "--api-keys: " + path_ + " holds no key");
  write("nonsense");
  EXPECT_EQ(text_of(Access::open(path_, metrics_).status()),
            "--api-keys: " + path_ + " line 1: not a JSON object");
}

TEST_F(AccessTest, TakesABearersKeyAndNothingElse) {
  const NewApiKey made = make_api_key("team-a").value();
  write(made.line);
  const auto access = open();
  for (const char* scheme : {"Bearer ", "bearer ", "BEARER "}) {
    const auto key = access->authenticate(scheme + made.key, Scope::kInference);
    ASSERT_TRUE(key.ok()) << key.status();
    EXPECT_EQ((*key)->tenant.name, "team-a");
  }
  for (const std::string& sent : {std::string("Bearer"), std::string("Bearer none"), made.key,
                                  "Basic " + made.key, "Bearer  " + made.key, "Bearer " + made.key + " "}) {
    const auto status = access->authenticate(sent, Scope::kInference).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnauthenticated) << sent;
    EXPECT_EQ(text_of(status), "the API key is not valid");
  }
  EXPECT_EQ(text_of(access->authenticate("", Scope::kInference).status()),
            "an API key is required, as Authorization: Bearer KEY");
  const auto denied = access->authenticate("Bearer " + made.key, Scope::kAdmin).status();
  EXPECT_EQ(denied.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(text_of(denied), "the API key has not the scope admin");
}

TEST_F(AccessTest, TakesANewFileAndKeepsTheOldOneInsteadOfABrokenOne) {
  const NewApiKey first = make_api_key("team-a").value();
  const NewApiKey second = make_api_key("team-b").value();
  const auto works = [](Access& access, const NewApiKey& key) {
    return access.authenticate("Bearer " + key.key, Scope::kInference).ok();
  };
  write(first.line);
  const auto access = open();
  EXPECT_TRUE(works(*access, first));
  EXPECT_FALSE(works(*access, second));
  write(second.line);
  EXPECT_FALSE(works(*access, first));
  EXPECT_TRUE(works(*access, second));
  write("half a li");
  EXPECT_TRUE(works(*access, second));
  write("# all are gone");
  EXPECT_FALSE(works(*access, second)) << "a file without keys takes them all away";
}

}  // namespace
}  // namespace octet::router
