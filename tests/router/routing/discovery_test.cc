#include "router/routing/discovery.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>

#include "base/check.h"
#include "base/status.h"
#include "router/routing/addresses.h"

namespace octet::router {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(PipelineAddressesTest, EachIsHostAndPortOrAName) {
  EXPECT_TRUE(
      check_pipeline_entries({"localhost:50061", "10.0.0.1:1", "[::1]:65535", "dns:///leads.octet.svc:50061"})
          .ok());
  for (const char* bad : {"", "localhost", ":50061", "host:", "host:0", "host:65536", "host:5x", "host:-1",
                          "dns://host:1", "dns:///host", "a b:1", "http://host:1"}) {
    const absl::Status status = check_pipeline_entries({"good:1", bad});
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bad;
    EXPECT_EQ(field_of(status), "--pipeline") << bad;
  }
  EXPECT_FALSE(check_pipeline_entries({"a:1", "a:1"}).ok());
  EXPECT_EQ(parse_pipeline_entry("[::1]:7")->host, "::1");
  EXPECT_EQ(parse_pipeline_entry("[::1]:7")->address(), "[::1]:7");
  EXPECT_EQ(parse_pipeline_entry("dns:///a:7")->address(), "a:7");
}

TEST(PipelinesFileTest, LinesCommentsAndErrorsWithTheirLine) {
  EXPECT_THAT(*parse_pipelines_file("# all\n a:1 # first\r\n\n\tdns:///b:2"),
              ElementsAre("a:1", "dns:///b:2"));
  EXPECT_THAT(text_of(parse_pipelines_file("a:1\nb").status()), HasSubstr("line 2: 'b' is neither"));
  EXPECT_THAT(text_of(parse_pipelines_file("a:1\n\na:1\n").status()),
              HasSubstr("line 3: 'a:1' is there twice"));
  EXPECT_FALSE(parse_pipelines_file("").ok());
  EXPECT_FALSE(parse_pipelines_file("# nothing\n").ok());
}

class DiscoveryTest : public testing::Test {
 protected:
  DiscoveryTest() : path_(testing::TempDir() + "discovery_test." + std::to_string(getpid())) {}
  ~DiscoveryTest() override { std::filesystem::remove(path_); }

  void write(const std::string& text) const { std::ofstream(path_) << text; }
  void start(Discovery::Sources sources) {
    sources.interval = std::chrono::milliseconds(5);
    discovery_.emplace(loop_, std::move(sources),
                       [this](const auto& addresses) { told_.push_back(addresses); });
    discovery_->start();
  }
  void run_until_told(size_t num_times) {
    const Time deadline = now() + std::chrono::seconds(30);
    while (told_.size() < num_times) {
      OCTET_CHECK(now() < deadline, "waited in vain");
      loop_.run_one_for(std::chrono::milliseconds(100));
    }
  }
  // Several looks, of which none may tell anything.
  void expect_quiet() {
    const size_t num_told = told_.size();
    for (int i = 0; i < 10; ++i) loop_.run_one_for(std::chrono::milliseconds(100));
    EXPECT_EQ(told_.size(), num_told);
  }

  const std::string path_;
  boost::asio::io_context loop_;
  std::vector<std::vector<std::string>> told_;
  std::optional<Discovery> discovery_;
};

TEST_F(DiscoveryTest, AListIsToldOnce) {
  start({.entries = {"b:2", "a:1"}, .file = ""});
  EXPECT_THAT(told_, ElementsAre(ElementsAre("a:1", "b:2")));
  expect_quiet();
}

TEST_F(DiscoveryTest, AFileIsReadAgain) {
  write("a:1\n");
  start({.entries = {"z:9"}, .file = path_});
  write("a:1\nb:2\n");
  run_until_told(2);
  write("");  // as while it is being written
  expect_quiet();
  write("nonsense\n");
  expect_quiet();
  std::filesystem::remove(path_);
  expect_quiet();
  write("b:2\n");
  run_until_told(3);
  EXPECT_THAT(told_, ElementsAre(ElementsAre("a:1", "z:9"), ElementsAre("a:1", "b:2", "z:9"),
                                 ElementsAre("b:2", "z:9")));
}

TEST_F(DiscoveryTest, ANameStandsForItsAddresses) {
  write("dns:///127.0.0.1:50061\n");
  start({.entries = {}, .file = path_});
  run_until_told(1);
  EXPECT_THAT(told_.back(), ElementsAre("127.0.0.1:50061"));
  const std::string too_long_to_exist(300, 'x');
  write("dns:///" + too_long_to_exist + ":1\ndns:///127.0.0.1:50061\ndns:///[::1]:7\n");
  run_until_told(2);
  EXPECT_THAT(told_.back(), ElementsAre("127.0.0.1:50061", "[::1]:7"));
}

TEST(ReadPipelinesFileTest, SaysWhatIsWrongWithTheFile) {
  EXPECT_THAT(text_of(read_pipelines_file("/nowhere/at/all").status()),
              HasSubstr("--pipelines-file /nowhere/at/all: is no file"));
  EXPECT_FALSE(read_pipelines_file("/dev/zero").ok());
}

}  // namespace
}  // namespace octet::router
