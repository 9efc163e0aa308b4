#include "worker/checkpoint/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <random>

#include "tests/worker/checkpoint/checkpoint_writer.h"

namespace octet::worker {
namespace {

using testing::AllOf;
using testing::HasSubstr;

absl::Status open_status(const TemporaryFolder& folder) {
  return Checkpoint::open(folder.path()).status();
}

// What open() says about a file of this content.
absl::Status open_file(const std::string& content) {
  TemporaryFolder folder;
  folder.write("model.safetensors", content);
  return open_status(folder);
}

absl::Status open_header(const std::string& header, size_t num_data_bytes) {
  return open_file(safetensors_file(header, num_data_bytes));
}

MATCHER_P(IsInvalid, text, "") {
  *result_listener << arg;
  return absl::IsInvalidArgument(arg) &&
         testing::Value(std::string(arg.message()), AllOf(HasSubstr("model.safetensors"), HasSubstr(text)));
}

constexpr char kTwoTensors[] = R"({"__metadata__":{"format":"pt"},
  "a":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]},
  "b":{"dtype":"F32","shape":[4],"data_offsets":[12,28]}})";

TEST(Safetensors, GivesTensorsInPlace) {
  TemporaryFolder folder;
  folder.write("model.safetensors", safetensors_file(kTwoTensors, 28));
  const auto checkpoint = Checkpoint::open(folder.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const auto a = (*checkpoint)->tensor("a", {2, 3});
  ASSERT_TRUE(a.ok()) << a.status();
  EXPECT_EQ(a->dtype, "BF16");
  EXPECT_EQ(a->num_bytes, 12);
  EXPECT_EQ(static_cast<const uint8_t*>(a->data)[5], 5);
  const auto b = (*checkpoint)->tensor("b", {4});
  ASSERT_TRUE(b.ok()) << b.status();
  EXPECT_EQ(static_cast<const uint8_t*>(b->data)[0], 12);
}

TEST(Safetensors, ReadsTheNanoModel) {
  const auto checkpoint = Checkpoint::open("deploy/nano");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_TRUE((*checkpoint)->tensor("model.layers.7.mlp.down_proj.weight", {128, 512}).ok());
}

TEST(Safetensors, RefusesAnotherShapeTypeOrNameByName) {
  TemporaryFolder folder;
  folder.write("model.safetensors",
               safetensors_file(R"({"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}})", 4));
  const auto checkpoint = Checkpoint::open(folder.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_THAT((*checkpoint)->tensor("a", {3}).status(), IsInvalid("\"a\": has shape [2], expected [3]"));
  EXPECT_THAT((*checkpoint)->tensor("a", {2}).status(), IsInvalid("\"a\": has dtype F16"));
  const absl::Status missing = (*checkpoint)->tensor("lm_head.weight", {3}).status();
  EXPECT_TRUE(absl::IsNotFound(missing));
  EXPECT_THAT(std::string(missing.message()),
              AllOf(HasSubstr("model.safetensors"), HasSubstr("lm_head.weight")));
}

TEST(Safetensors, RefusesATensorThatIsNotAlignedToItsElements) {
  TemporaryFolder folder;
  folder.write("model.safetensors", safetensors_file(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},
                                    "b":{"dtype":"BF16","shape":[1],"data_offsets":[1,3]}})",
                                                     3));
  const auto checkpoint = Checkpoint::open(folder.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_THAT((*checkpoint)->tensor("b", {1}).status(), IsInvalid("not a multiple of its element size 2"));
}

TEST(Safetensors, RefusesBrokenFiles) {
  EXPECT_THAT(open_file(""), IsInvalid("too few for a header"));
  EXPECT_THAT(open_file("1234567"), IsInvalid("too few for a header"));
  EXPECT_THAT(open_file(length_prefix(uint64_t{1} << 63) + "{}"),
              IsInvalid("header of 9223372036854775808 bytes"));
  EXPECT_THAT(open_file(length_prefix(~uint64_t{0}) + "{}"), IsInvalid("limit 100000000"));
  EXPECT_THAT(open_file(length_prefix(99'999'999) + "{}"), IsInvalid("does not fit"));
  EXPECT_THAT(open_file(length_prefix(3) + "{}"), IsInvalid("does not fit"));
  EXPECT_THAT(open_file(length_prefix(0)), IsInvalid("not valid JSON"));
  EXPECT_THAT(open_file(length_prefix(2) + "[]"), IsInvalid("not an object"));
  EXPECT_THAT(open_header(std::string(1000, '['), 0), IsInvalid("not valid JSON"));
  EXPECT_THAT(open_header("{\"a\":" + std::string(50, '[') + std::string(50, ']') + "}", 0),
              IsInvalid("not valid JSON"));
  EXPECT_THAT(open_header("{\"\xff\":1}", 0), IsInvalid("not valid JSON"));
}

TEST(Safetensors, RefusesATruncatedFile) {
  const std::string whole = safetensors_file(kTwoTensors, 28);
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_THAT(open_file(whole.substr(0, size)), IsInvalid("")) << size;
  }
  EXPECT_THAT(open_file(whole.substr(0, whole.size() - 1)), IsInvalid("tensor \"b\": ends at byte 28"));
}

TEST(Safetensors, RefusesBrokenEntriesByName) {
  const auto entry = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return open_header(
        R"({"x":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}", 16);
  };
  EXPECT_TRUE(entry("\"BF16\"", "[8]", "[0,16]").ok());
  EXPECT_TRUE(entry("\"BF16\"", "[]", "[0,2]").ok());
  EXPECT_TRUE(entry("\"BF16\"", "[0,9]", "[3,3]").ok());
  EXPECT_THAT(entry("\"BF17\"", "[8]", "[0,16]"), IsInvalid("\"x\": has the unknown dtype \"BF17\""));
  EXPECT_THAT(entry("16", "[8]", "[0,16]"), IsInvalid("\"x\": has no \"dtype\""));
  EXPECT_THAT(entry("\"BF16\"", "8", "[0,16]"), IsInvalid("\"x\": has no \"shape\""));
  EXPECT_THAT(entry("\"BF16\"", "[-8]", "[0,16]"),
              IsInvalid("\"x\": has a shape that is not of whole numbers"));
  EXPECT_THAT(entry("\"BF16\"", "[8.0]", "[0,16]"),
              IsInvalid("\"x\": has a shape that is not of whole numbers"));
  EXPECT_THAT(entry("\"BF16\"", "[4294967296,4294967296,2]", "[0,16]"),
              IsInvalid("\"x\": has a shape too large"));
  EXPECT_THAT(entry("\"BF16\"", "[4611686018427387904,2]", "[0,16]"),
              IsInvalid("\"x\": has a shape too large"));
  EXPECT_THAT(entry("\"BF16\"", "[18446744073709551615]", "[0,16]"),
              IsInvalid("\"x\": has a shape that is not"));
  EXPECT_THAT(entry("\"BF16\"", "[1,1,1,1,1,1,1,1,1]", "[0,2]"), IsInvalid("\"x\": has 9 dimensions"));
  EXPECT_THAT(entry("\"BF16\"", "[7]", "[0,16]"),
              IsInvalid("\"x\": has 16 bytes, but its dtype and shape need 14"));
  EXPECT_THAT(entry("\"BF16\"", "[8]", "[0]"), IsInvalid("\"x\": has no \"data_offsets\""));
  EXPECT_THAT(entry("\"BF16\"", "[8]", "[16,0]"), IsInvalid("\"x\": has data_offsets that are no range"));
  EXPECT_THAT(entry("\"BF16\"", "[8]", "[-1,15]"), IsInvalid("\"x\": has data_offsets that are no range"));
  EXPECT_THAT(entry("\"BF16\"", "[8]", "[1,17]"), IsInvalid("\"x\": ends at byte 17"));
  EXPECT_THAT(entry("\"BF16\"", "[8]", "[18446744073709551600,18446744073709551615]"),
              IsInvalid("\"x\": ends at"));
  EXPECT_THAT(open_header(R"({"x":[]})", 0), IsInvalid("\"x\": its entry is not an object"));
}

TEST(Safetensors, RefusesOverlappingTensors) {
  const auto pair = [](const std::string& first, const std::string& second) {
    return open_header(R"({"a":{"dtype":"BF16","shape":[4],"data_offsets":)" + first +
                           R"(},"b":{"dtype":"BF16","shape":[4],"data_offsets":)" + second + "}}",
                       16);
  };
  EXPECT_TRUE(pair("[8,16]", "[0,8]").ok());
  EXPECT_THAT(pair("[0,8]", "[0,8]"), IsInvalid("overlaps tensor \"a\""));
  EXPECT_THAT(pair("[0,8]", "[6,14]"), IsInvalid("tensor \"b\": overlaps tensor \"a\""));
  EXPECT_THAT(pair("[7,15]", "[0,8]"), IsInvalid("tensor \"a\": overlaps tensor \"b\""));
}

TEST(Safetensors, EscapesAndShortensNamesInErrors) {
  const std::string message(open_header("{\"a\\n\\u001b" + std::string(5000, 'x') + "\":1}", 0).message());
  EXPECT_THAT(message, HasSubstr("a\\n\\x1bxxx"));
  EXPECT_LT(message.size(), 400u);
}

TEST(Safetensors, RefusesAMissingFolderAndWhatIsNoFile) {
  TemporaryFolder folder;
  EXPECT_TRUE(absl::IsNotFound(Checkpoint::open(folder.file("none")).status()));
  const absl::Status empty = open_status(folder);
  EXPECT_TRUE(absl::IsNotFound(empty));
  EXPECT_THAT(std::string(empty.message()),
              AllOf(HasSubstr(folder.path()), HasSubstr("model.safetensors.index.json")));
  ASSERT_EQ(mkfifo(folder.file("model.safetensors").c_str(), 0600), 0);
  EXPECT_THAT(open_status(folder), IsInvalid("not a regular file"));
}

class SafetensorsIndex : public testing::Test {
 protected:
  SafetensorsIndex() {
    folder_.write("one.safetensors",
                  safetensors_file(R"({"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}})", 4));
    folder_.write("two.safetensors",
                  safetensors_file(R"({"b":{"dtype":"BF16","shape":[3],"data_offsets":[0,6]}})", 6));
  }
  absl::Status open_index(const std::string& index) {
    folder_.write("model.safetensors.index.json", index);
    return open_status(folder_);
  }

  TemporaryFolder folder_;
};

TEST_F(SafetensorsIndex, FindsTensorsInTheirFiles) {
  folder_.write("model.safetensors.index.json",
                R"({"metadata":{},"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})");
  const auto checkpoint = Checkpoint::open(folder_.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_TRUE((*checkpoint)->tensor("a", {2}).ok());
  EXPECT_EQ((*checkpoint)->tensor("b", {3})->file, folder_.file("two.safetensors"));
}

TEST_F(SafetensorsIndex, RefusesFilesOutsideTheFolder) {
  for (const char* name :
       {"../one.safetensors", "/etc/passwd", "sub/one.safetensors", "..", ".", "", "one\\u0000.x"}) {
    EXPECT_THAT(open_index(R"({"weight_map":{"a":")" + std::string(name) + "\"}}"),
                IsInvalid("\"a\": its file"))
        << name;
  }
}

TEST_F(SafetensorsIndex, RefusesBrokenIndexes) {
  EXPECT_THAT(open_index(""), IsInvalid("not valid JSON"));
  EXPECT_THAT(open_index("{}"), IsInvalid("no \"weight_map\""));
  EXPECT_THAT(open_index(R"({"weight_map":{"a":1}})"), IsInvalid("\"a\": its file is not a string"));
  EXPECT_THAT(open_index(R"({"weight_map":{"b":"one.safetensors"}})"),
              IsInvalid("\"b\": its file \"one.safetensors\" does not"));
  const absl::Status missing = open_index(R"({"weight_map":{"a":"three.safetensors"}})");
  EXPECT_TRUE(absl::IsNotFound(missing)) << missing;
  EXPECT_THAT(std::string(missing.message()), HasSubstr("three.safetensors"));
}

// Any bytes give a status: flips bytes of a good file's header, every time from the same numbers.
TEST(Safetensors, SurvivesGarbage) {
  const std::string whole = safetensors_file(kTwoTensors, 28);
  std::mt19937 random(7);
  for (int round = 0; round < 500; ++round) {
    std::string content = whole;
    for (int flip = 0; flip < 3; ++flip)
      content[random() % (whole.size() - 28)] = static_cast<char>(random());
    TemporaryFolder folder;
    folder.write("model.safetensors", content);
    const auto checkpoint = Checkpoint::open(folder.path());
    if (!checkpoint.ok()) continue;
    const auto a = (*checkpoint)->tensor("a", {2, 3});
    if (a.ok()) {
      EXPECT_EQ(a->num_bytes, a->dtype == "BF16" ? 12 : 24);
    }
  }
}

}  // namespace
}  // namespace octet::worker
