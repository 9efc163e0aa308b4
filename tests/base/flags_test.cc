#include "base/flags.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace octet {
namespace {

// A small program's flags, parsed from arguments.
struct Program {
  int port = 50;
  double rate = 1.5;
  int64_t bytes = 7;
  uint32_t count = 3;
  std::string name = "nano";
  std::string level = "info";
  bool check = false;
  Duration timeout = std::chrono::seconds(10);
  std::vector<std::string> addresses;
  std::vector<int> layers;
  std::string help;
  bool port_given = false;

  absl::StatusOr<Flags::Outcome> parse(std::vector<std::string> arguments) {
    Flags flags("octet-test", "Tests flags.");
    flags.add_number("port", &port, 0, 65535, "The port.");
    flags.add_number("rate", &rate, 0.0, 10.0, "The rate.");
    flags.add_number("bytes", &bytes, int64_t{0}, int64_t{1} << 40, "The bytes.");
    flags.add_number("count", &count, 1u, 4000000000u, "The count.");
    flags.add_text("name", &name, "The name.");
    flags.add_choice("level", &level, {"info", "debug"}, "The level.");
    flags.add_switch("check", &check, "Checks.");
    flags.add_duration("step-timeout", &timeout, std::chrono::milliseconds(1), std::chrono::hours(1),
                       "The timeout.");
    flags.add_list("pipeline", &addresses, "The addresses.");
    flags.add_list("layers", &layers, 1, 100, "The layers.");
    help = flags.help();
    std::vector<const char*> argv = {"octet-test"};
    for (const std::string& argument : arguments) argv.push_back(argument.c_str());
    const auto outcome = flags.parse(static_cast<int>(argv.size()), argv.data());
    port_given = flags.given("port");
    return outcome;
  }

  std::string error(const std::vector<std::string>& arguments) {
    const auto outcome = parse(arguments);
    return outcome.ok() ? "ok" : std::string(outcome.status().message());
  }
};

class FlagsTest : public testing::Test {
 protected:
  void SetUp() override {
    file_ =
        std::filesystem::temp_directory_path() / ("octet_flags_test_" + std::to_string(getpid()) + ".conf");
  }
  void TearDown() override {
    std::filesystem::remove(file_);
    unsetenv("OCTET_PORT");
    unsetenv("OCTET_CHECK");
    unsetenv("OCTET_STEP_TIMEOUT");
  }
  std::string config(const std::string& text) {
    std::ofstream(file_) << text;
    return file_.string();
  }
  std::filesystem::path file_;
  Program program_;
};

TEST_F(FlagsTest, KeepsDefaultsAndTakesValues) {
  ASSERT_EQ(program_.error({"--port", "0", "--bytes", "1099511627776", "--count=4000000000", "--name", "x y",
                            "--level", "debug", "--check", "--step-timeout", "250ms", "--pipeline",
                            "a:1, b:2", "--layers", "4,4"}),
            "ok");
  EXPECT_EQ(program_.port, 0);
  EXPECT_TRUE(program_.port_given);
  EXPECT_EQ(program_.rate, 1.5);
  EXPECT_EQ(program_.bytes, int64_t{1} << 40);
  EXPECT_EQ(program_.count, 4000000000u);
  EXPECT_EQ(program_.name, "x y");
  EXPECT_EQ(program_.level, "debug");
  EXPECT_TRUE(program_.check);
  EXPECT_EQ(program_.timeout, std::chrono::milliseconds(250));
  EXPECT_EQ(program_.addresses, (std::vector<std::string>{"a:1", "b:2"}));
  EXPECT_EQ(program_.layers, (std::vector<int>{4, 4}));
}

TEST_F(FlagsTest, RefusesValuesOutOfRangeByTheFlagsName) {
  EXPECT_EQ(program_.error({"--port", "65536"}), "--port: 65536 is not in the range 0 to 65535");
  EXPECT_EQ(program_.error({"--port", "-1"}), "--port: -1 is not in the range 0 to 65535");
  EXPECT_EQ(program_.error({"--port", "99999999999999999999"}),
            "--port: 99999999999999999999 is not in the range 0 to 65535");
  EXPECT_EQ(program_.error({"--port", "12x"}), "--port: '12x' is not a number");
  EXPECT_EQ(program_.error({"--port", ""}), "--port: '' is not a number");
  EXPECT_EQ(program_.error({"--rate", "nan"}), "--rate: nan is not in the range 0 to 10");
  EXPECT_EQ(program_.error({"--level", "loud"}), "--level: 'loud' is not one of info, debug");
  EXPECT_EQ(program_.error({"--step-timeout", "2h"}), "--step-timeout: 2h is not in the range 1ms to 1h");
  EXPECT_EQ(program_.error({"--step-timeout", "soon"}),
            "--step-timeout: 'soon' is not a time such as 10s, 250ms, 2m or 1h");
  EXPECT_EQ(program_.error({"--pipeline", "a,,b"}), "--pipeline: 'a,,b' has an empty entry");
  EXPECT_EQ(program_.error({"--layers", "4,101"}), "--layers: 101 is not in the range 1 to 100");
}

TEST_F(FlagsTest, RefusesUnknownFlagsAndMissingValues) {
  EXPECT_EQ(program_.error({"--bogus", "3"}), "--bogus: unknown flag");
  EXPECT_EQ(program_.error({"extra"}), "extra: unknown flag");
  EXPECT_NE(program_.error({"--port"}).find("--port"), std::string::npos);
}

TEST_F(FlagsTest, TheLastOfTwoValuesWins) {
  ASSERT_EQ(program_.error({"--port", "1", "--port", "2"}), "ok");
  EXPECT_EQ(program_.port, 2);
}

TEST_F(FlagsTest, TheCommandLineWinsOverTheFileAndTheFileOverTheEnvironment) {
  setenv("OCTET_PORT", "1", 1);
  setenv("OCTET_STEP_TIMEOUT", "3s", 1);
  setenv("OCTET_CHECK", "true", 1);
  ASSERT_EQ(program_.error({}), "ok");
  EXPECT_EQ(program_.port, 1);
  EXPECT_TRUE(program_.port_given);
  EXPECT_EQ(program_.timeout, std::chrono::seconds(3));
  EXPECT_TRUE(program_.check);

  const std::string file = config("port = 2\nname = file\ncheck = false\n");
  ASSERT_EQ(program_.error({"--config", file}), "ok");
  EXPECT_EQ(program_.port, 2);
  EXPECT_EQ(program_.name, "file");
  EXPECT_FALSE(program_.check);

  ASSERT_EQ(program_.error({"--config", file, "--port", "3"}), "ok");
  EXPECT_EQ(program_.port, 3);
}

TEST_F(FlagsTest, RefusesAFileThatIsMissingOrHoldsUnknownNamesOrBadValues) {
  EXPECT_NE(program_.error({"--config", "/nonexistent.conf"}).find("--config: /nonexistent.conf"),
            std::string::npos);
  const std::string unknown = program_.error({"--config", config("bogus = 3\n")});
  EXPECT_NE(unknown.find("--config"), std::string::npos);
  EXPECT_NE(unknown.find("bogus"), std::string::npos);
  EXPECT_EQ(program_.error({"--config", config("port = 70000\n")}),
            "--port: 70000 is not in the range 0 to 65535");
  EXPECT_EQ(program_.error({"--config", config("port = []\n")}), "--port: has no value");
}

TEST_F(FlagsTest, RefusesABadValueOfTheEnvironment) {
  setenv("OCTET_PORT", "many", 1);
  EXPECT_EQ(program_.error({}), "--port: 'many' is not a number");
}

TEST_F(FlagsTest, HelpTellsDefaultRangeAndEnvironmentOfEveryFlag) {
  const auto outcome = program_.parse({"--help"});
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(*outcome, Flags::Outcome::kHelpPrinted);
  EXPECT_NE(
      program_.help.find("--port N\n      The port. Range 0 to 65535. Default: 50. Environment: OCTET_PORT."),
      std::string::npos)
      << program_.help;
  EXPECT_NE(program_.help.find("Range 1ms to 1h. Default: 10s. Environment: OCTET_STEP_TIMEOUT."),
            std::string::npos);
  EXPECT_NE(program_.help.find("--level info|debug"), std::string::npos);
  EXPECT_NE(program_.help.find("--config FILE"), std::string::npos);
}

TEST(DurationTest, TextParsesBackToTheSameDuration) {
  for (const auto ms : {0, 1, 250, 1000, 1500, 60'000, 90'000, 3'600'000, 86'400'000}) {
    const Duration duration = std::chrono::milliseconds(ms);
    const absl::StatusOr<Duration> parsed = parse_duration(duration_text(duration));
    ASSERT_TRUE(parsed.ok()) << duration_text(duration);
    EXPECT_EQ(*parsed, duration) << duration_text(duration);
  }
  EXPECT_EQ(duration_text(std::chrono::milliseconds(90'000)), "90s");
  EXPECT_EQ(*parse_duration("0.5"), std::chrono::milliseconds(500));
}

TEST(DurationTest, RefusesWhatIsNoTime) {
  for (const char* text : {"", "s", "ms", "-1s", "1d", "nan", "inf", "1e300h", "1 s", "1s1s"}) {
    EXPECT_FALSE(parse_duration(text).ok()) << text;
  }
}

}  // namespace
}  // namespace octet
