#include "router/routing/discovery.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/log.h"
#include "base/status.h"
#include "router/routing/addresses.h"

namespace octet::router {

using boost::asio::ip::tcp;

Discovery::Discovery(boost::asio::io_context& loop, Sources sources, OnAddresses on_addresses)
    : sources_(std::move(sources)), on_addresses_(std::move(on_addresses)), timer_(loop), resolver_(loop) {}

void Discovery::start() {
  look();
}

void Discovery::look() {
  if (!sources_.file.empty()) read_file();
  const std::vector<std::string> now_given = entries();
  std::erase_if(names_, [&](const auto& name) {
    return std::find(now_given.begin(), now_given.end(), name.first) == now_given.end();
  });
  for (const std::string& entry : now_given) {
    if (parse_pipeline_entry(entry)->all_addresses) resolve(entry);
  }
  update();
  timer_.expires_after(sources_.interval);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) look();
  });
}

void Discovery::read_file() {
  auto entries = read_pipelines_file(sources_.file);
  const std::string error = entries.ok() ? "" : text_of(entries.status());
  if (!error.empty() && error != file_error_)
    spdlog::warn("{}; the pipelines stay as they were", loggable(error, 512));
  file_error_ = error;
  if (entries.ok()) file_entries_ = *std::move(entries);
}

void Discovery::resolve(const std::string& name) {
  if (std::exchange(names_[name].looking, true)) return;
  const PipelineEntry entry = parse_pipeline_entry(name).value();
  resolver_.async_resolve(
      entry.host, entry.port, tcp::resolver::numeric_service,
      [this, name, port = entry.port](const boost::system::error_code& error,
                                      const tcp::resolver::results_type& results) {
        const auto found = names_.find(name);
        if (found == names_.end()) return;  // not asked for any more
        found->second.looking = false;
        const std::string why = error ? error.message() : "";
        if (!why.empty() && why != found->second.error)
          spdlog::warn("{} cannot be looked up, trying on: {}", name, why);
        found->second.error = why;
        if (error) return;
        std::set<std::string> addresses;
        for (const auto& result : results) {
          addresses.insert(PipelineEntry{
              .host = result.endpoint().address().to_string(), .port = port, .all_addresses = false}
                               .address());
        }
        found->second.addresses.assign(addresses.begin(), addresses.end());
        update();
      });
}

void Discovery::update() {
  std::set<std::string> addresses;
  for (const std::string& entry : entries()) {
    const auto name = names_.find(entry);
    if (name == names_.end()) {
      addresses.insert(parse_pipeline_entry(entry)->address());
    } else {
      addresses.insert(name->second.addresses.begin(), name->second.addresses.end());
    }
  }
  std::vector<std::string> all(addresses.begin(), addresses.end());
  if (all == told_) return;
  told_ = std::move(all);
  on_addresses_(told_);
}

std::vector<std::string> Discovery::entries() const {
  std::vector<std::string> result = sources_.entries;
  result.insert(result.end(), file_entries_.begin(), file_entries_.end());
  return result;
}

}  // namespace octet::router
