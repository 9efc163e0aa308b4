#include "tests/worker/stage/golden_cases.h"

#include <boost/json.hpp>

#include "tests/worker/checkpoint/checkpoint_writer.h"

namespace octet::worker {
namespace {

template <typename T>
std::vector<T> numbers(const boost::json::value& array) {
  std::vector<T> values;
  for (const auto& value : array.as_array()) values.push_back(value.to_number<T>());
  return values;
}

}  // namespace

std::vector<GoldenCase> read_golden_cases() {
  std::vector<GoldenCase> cases;
  const boost::json::value file = boost::json::parse(read_file("tests/golden/greedy.json"));
  for (const auto& entry : file.as_array()) {
    GoldenCase golden;
    golden.prompt = numbers<TokenId>(entry.at("prompt_ids"));
    golden.output = numbers<TokenId>(entry.at("output_ids"));
    golden.logprobs = numbers<double>(entry.at("logprobs"));
    for (const auto& top : entry.at("first_top5").as_array()) {
      golden.first_top_tokens.push_back(top.at(0).to_number<TokenId>());
      golden.first_top_logprobs.push_back(top.at(1).to_number<double>());
    }
    cases.push_back(std::move(golden));
  }
  return cases;
}

}  // namespace octet::worker
