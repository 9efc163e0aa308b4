#include "router/access/api_keys.h"

#include <gtest/gtest.h>

#include "base/status.h"

namespace octet::router {
namespace {

std::string refusal(const std::string& text) {
  const auto keys = ApiKeys::parse(text);
  return keys.ok() ? "accepted" : text_of(keys.status());
}

// A line of a new key with more fields.
std::string line_with(const std::string& fields, const std::string& name = "team-a") {
  std::string line = make_api_key(name).value().line;
  line.pop_back();
  return line + (fields.empty() ? "" : ", " + fields) + "}";
}

TEST(ApiKeys, FindsAKeyByWhatTheClientPresents) {
  const NewApiKey made = make_api_key("team-a").value();
  const NewApiKey other = make_api_key("team-b").value();
  const auto keys = ApiKeys::parse("# keys\n\n" + made.line + "\r\n" + other.line);
  ASSERT_TRUE(keys.ok()) << keys.status();
  EXPECT_EQ(keys->size(), 2u);
  ASSERT_NE(keys->find(made.key), nullptr);
  EXPECT_EQ(keys->find(made.key)->tenant.name, "team-a");
  EXPECT_EQ(keys->find(other.key)->tenant.name, "team-b");
}

TEST(ApiKeys, RefusesEveryNearMiss) {
  const NewApiKey made = make_api_key("team-a").value();
  const auto keys = ApiKeys::parse(made.line);
  ASSERT_TRUE(keys.ok()) << keys.status();
  for (size_t i = 0; i < made.key.size(); ++i) {
    std::string changed = made.key;
    changed[i] = changed[i] == '0' ? '1' : '0';
    EXPECT_EQ(keys->find(changed), nullptr) << i;
    EXPECT_EQ(keys->find(made.key.substr(0, i)), nullptr) << i;
  }
  EXPECT_EQ(keys->find(made.key + "0"), nullptr);
  EXPECT_EQ(keys->find(" " + made.key), nullptr);
  EXPECT_EQ(keys->find(std::string(1 << 20, 'x')), nullptr);
}

TEST(ApiKeys, TheFileTellsNothingOfTheSecret) {
  const NewApiKey made = make_api_key("team-a").value();
  EXPECT_EQ(made.line.find(made.key.substr(made.key.rfind('-') + 1)), std::string::npos);
  EXPECT_NE(made.key, make_api_key("team-a").value().key);
}

TEST(ApiKeys, ALineSaysWhatTheKeyMay) {
  const NewApiKey made = make_api_key("team-a").value();
  const auto defaults = ApiKeys::parse(made.line).value().find(made.key);
  EXPECT_EQ(defaults->tenant.weight, 1);
  EXPECT_EQ(defaults->tenant.best_priority, 0);
  EXPECT_EQ(defaults->quota, Quota());
  EXPECT_TRUE(defaults->may(Scope::kInference));
  EXPECT_FALSE(defaults->may(Scope::kAdmin));

  std::string line = made.line.substr(0, made.line.find(", \"scopes\""));
  line += R"(, "weight": 2.5, "best_priority": -10, "requests_per_minute": 60, "tokens_per_minute": 4000,)"
          R"( "scopes": ["admin"]})";
  const auto keys = ApiKeys::parse(line).value();
  const auto key = keys.find(made.key);
  EXPECT_EQ(key->tenant.weight, 2.5);
  EXPECT_EQ(key->tenant.best_priority, -10);
  EXPECT_EQ(key->quota.requests_per_minute, 60u);
  EXPECT_EQ(key->quota.tokens_per_minute, 4000u);
  EXPECT_FALSE(key->may(Scope::kInference));
  EXPECT_TRUE(key->may(Scope::kAdmin));
  EXPECT_EQ(keys.quota_of("team-a"), key->quota);
  EXPECT_EQ(keys.quota_of("team-b"), Quota());
}

TEST(ApiKeys, NamesLineAndFieldOfWhatIsWrong) {
  EXPECT_EQ(refusal("# one\nnonsense"), "line 2: not a JSON object");
  EXPECT_EQ(refusal("[]"), "line 1: not a JSON object");
  EXPECT_EQ(refusal("{}"), "line 1: id: required");
  EXPECT_EQ(refusal(R"({"id": 1})"), "line 1: id: must be a string");
  EXPECT_EQ(refusal(R"({"id": "1", "sha256": "2", "name": "a"})"),
            "line 1: id: must be 16 hexadecimal digits");
  EXPECT_EQ(refusal(R"({"id": "0123456789abcdef", "sha256": "2", "name": "a"})"),
            "line 1: sha256: must be 64 hexadecimal digits");
  EXPECT_EQ(refusal(line_with(R"("wieght": 2)")), "line 1: wieght: unknown field");
  for (const char* weight : {"0", "-1", "1e300", "\"2\""})
    EXPECT_EQ(refusal(line_with(std::string("\"weight\": ") + weight)),
              "line 1: weight: must be above 0, at most 1e+06");
  for (const char* rate : {"0", "-1", "1.5", "4294967296", "\"2\""})
    EXPECT_EQ(refusal(line_with(std::string("\"tokens_per_minute\": ") + rate)),
              "line 1: tokens_per_minute: must be a whole number of 1 to 4294967295");
  EXPECT_EQ(refusal(line_with("\"best_priority\": 101")),
            "line 1: best_priority: must be a whole number of -100 to 100");
  const std::string line = line_with("");
  EXPECT_EQ(refusal(line + "\n" + line), "line 2: id: given before");
  EXPECT_EQ(refusal(line_with("\"weight\": 2") + "\n" + line_with("\"weight\": 3")),
            "line 2: name: another key of that name has another weight or quota");
}

TEST(ApiKeys, ScopesAreKnownOnes) {
  std::string line = make_api_key("a").value().line;
  line.replace(line.find("inference"), 9, "everything");
  EXPECT_EQ(refusal(line), "line 1: scopes: only inference and admin are known");
}

TEST(ApiKeys, ATenantsNameIsShortAndPlain) {
  for (const std::string& name :
       {std::string(), std::string(65, 'a'), std::string("a b"), std::string("a\n"), std::string("\"")})
    EXPECT_FALSE(make_api_key(name).ok()) << name;
}

}  // namespace
}  // namespace octet::router
