#include "tools/bench/scrape.h"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "tools/bench/client.h"

namespace octet::bench {
namespace {

namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::asio::ip::tcp;
using boost::beast::error_code;

// 'a="x",le="0.5"' -> 'a="x"' and 0.5. Label values of Octet hold no commas or quotes.
std::optional<double> take_le(absl::string_view labels, std::string& others) {
  std::optional<double> le;
  for (absl::string_view label : absl::StrSplit(labels, ',', absl::SkipEmpty())) {
    double bound = 0;
    absl::string_view value = label;
    if (absl::ConsumePrefix(&value, "le=\"") && absl::ConsumeSuffix(&value, "\"") &&
        absl::SimpleAtod(value, &bound)) {
      le = bound;
    } else {
      absl::StrAppend(&others, others.empty() ? "" : ",", label);
    }
  }
  return le;
}

// One request and its answer on a connection of its own.
class Get {
 public:
  Get(const Endpoint& endpoint, const std::string& path, Duration timeout)
      : timeout_(timeout), endpoint_(endpoint) {
    request_.method(http::verb::get);
    request_.target(path);
    request_.set(http::field::host, absl::StrCat(endpoint.host, ":", endpoint.port));
  }

  absl::StatusOr<std::string> run() {
    error_code resolve_error;
    const auto addresses = tcp::resolver(loop_).resolve(endpoint_.host, endpoint_.port, resolve_error);
    if (resolve_error) return absl::UnavailableError(resolve_error.message());
    stream_.expires_after(timeout_);
    stream_.async_connect(addresses, [this](error_code ec, const tcp::endpoint&) {
      if (failed(ec)) return;
      http::async_write(stream_, request_, [this](error_code written, size_t) {
        if (failed(written)) return;
        http::async_read(stream_, buffer_, response_, [this](error_code read, size_t) { failed(read); });
      });
    });
    loop_.run();
    if (error_) return absl::UnavailableError(error_.message());
    if (response_.result_int() != 200)
      return absl::UnavailableError(absl::StrCat("http ", response_.result_int()));
    return std::move(response_.body());
  }

 private:
  bool failed(error_code ec) {
    if (ec) error_ = ec;
    return static_cast<bool>(ec);
  }

  const Duration timeout_;
  const Endpoint endpoint_;
  boost::asio::io_context loop_;
  beast::tcp_stream stream_{loop_};
  http::request<http::empty_body> request_;
  beast::flat_buffer buffer_;
  http::response<http::string_body> response_;
  error_code error_;
};

}  // namespace

std::optional<double> Histogram::quantile(double q) const {
  if (count() == 0) return std::nullopt;
  const double rank = q * static_cast<double>(count());
  double lower_bound = 0;
  uint64_t below = 0;
  for (const auto& [bound, at_or_below] : buckets) {
    if (static_cast<double>(at_or_below) >= rank && at_or_below > below) {
      if (std::isinf(bound)) return lower_bound;
      const double share = (rank - static_cast<double>(below)) / static_cast<double>(at_or_below - below);
      return lower_bound + share * (bound - lower_bound);
    }
    lower_bound = bound;
    below = at_or_below;
  }
  return lower_bound;
}

absl::StatusOr<Histograms> parse_histograms(absl::string_view page, const std::vector<std::string>& names) {
  Histograms histograms;
  for (absl::string_view line : absl::StrSplit(page, '\n')) {
    const auto name = std::find_if(names.begin(), names.end(), [&](const std::string& candidate) {
      return absl::StartsWith(line, absl::StrCat(candidate, "_bucket{"));
    });
    if (name == names.end()) continue;
    const absl::string_view rest = line.substr(name->size() + sizeof("_bucket{") - 1);
    const size_t end = rest.find("} ");
    std::string labels;
    double value = 0;
    std::optional<double> le;
    if (end != absl::string_view::npos) le = take_le(rest.substr(0, end), labels);
    if (!le || !absl::SimpleAtod(rest.substr(end + 2), &value) || value < 0) {
      return absl::InvalidArgumentError(absl::StrCat("not a histogram bucket: ", line));
    }
    const std::string series = labels.empty() ? *name : absl::StrCat(*name, "{", labels, "}");
    histograms[series].buckets.emplace_back(*le, static_cast<uint64_t>(value));
  }
  for (auto& [series, histogram] : histograms) std::sort(histogram.buckets.begin(), histogram.buckets.end());
  return histograms;
}

Histograms difference(const Histograms& before, const Histograms& after) {
  Histograms result = after;
  for (auto& [series, histogram] : result) {
    const auto earlier = before.find(series);
    if (earlier == before.end() || earlier->second.buckets.size() != histogram.buckets.size()) continue;
    for (size_t i = 0; i < histogram.buckets.size(); ++i) {
      uint64_t& count = histogram.buckets[i].second;
      count -= std::min(count, earlier->second.buckets[i].second);
    }
  }
  return result;
}

absl::StatusOr<std::string> http_get(const std::string& url, Duration timeout) {
  absl::string_view rest = url;
  const bool has_scheme = absl::ConsumePrefix(&rest, "http://");
  const size_t slash = std::min(rest.find('/'), rest.size());
  const absl::StatusOr<Endpoint> endpoint = parse_endpoint(std::string(rest.substr(0, slash)));
  if (!has_scheme || !endpoint.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("\"", url, "\" must be http://HOST:PORT/PATH"));
  }
  const std::string path(slash < rest.size() ? rest.substr(slash) : "/metrics");
  absl::StatusOr<std::string> body = Get(*endpoint, path, timeout).run();
  if (!body.ok()) return absl::UnavailableError(absl::StrCat(url, ": ", body.status().message()));
  return body;
}

}  // namespace octet::bench
