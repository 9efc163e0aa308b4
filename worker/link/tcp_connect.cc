// How two stages make the links of an epoch: the later one listens, the earlier one connects and greets.
#include <array>
#include <boost/asio.hpp>
#include <condition_variable>
#include <list>
#include <mutex>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "worker/link/frame.h"
#include "worker/link/link.h"
#include "worker/link/tcp_connection.h"
#include "worker/link/tcp_link.h"

namespace octet::worker {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

// Connections that have not greeted yet; past this many the oldest goes, so that strangers cannot use up
// descriptors.
constexpr size_t kMaxPendingConnections = 64;
constexpr auto kAcceptRetry = std::chrono::milliseconds(50);   // when the process is out of descriptors, say
constexpr auto kConnectRetry = std::chrono::milliseconds(20);  // while the peer does not listen yet
constexpr auto kConnectAttempt = std::chrono::seconds(1);      // a host that is gone does not even refuse

absl::Status cancelled() {
  return absl::CancelledError("the wait for links was cancelled");
}

// One call of TcpLinkListener::accept(). Handlers run on the thread that calls run().
class Acceptance {
 public:
  Acceptance(asio::io_context& context, tcp::acceptor& acceptor, uint64_t epoch, const LinkKey& key,
             int num_ranks)
      : context_(context),
        acceptor_(acceptor),
        retry_timer_(context),
        epoch_(epoch),
        key_(key),
        connected_(static_cast<size_t>(num_ranks)) {}

  // Returns when every rank has come, at the deadline, or soon after a stop. finish() has to follow.
  void run(Time deadline, const std::stop_token& stop) {
    accept_next();
    const std::stop_callback on_stop(stop, [this] { context_.stop(); });
    context_.run_until(deadline);
  }

  // Ends what is still under way, so that no handler is left behind.
  void finish() {
    over_ = true;
    error_code ignored;
    acceptor_.cancel(ignored);
    retry_timer_.cancel();
    for (Pending& pending : pending_) pending.socket.close(ignored);
    context_.restart();
    context_.run();
  }

  std::vector<int> missing_ranks() const {
    std::vector<int> missing;
    for (size_t rank = 0; rank < connected_.size(); ++rank) {
      if (!connected_[rank]) missing.push_back(static_cast<int>(rank));
    }
    return missing;
  }

  tcp::socket take(int rank) { return *std::move(connected_[static_cast<size_t>(rank)]); }

 private:
  struct Pending {
    tcp::socket socket;
    std::array<std::byte, kGreetingBytes> bytes{};
  };
  using PendingIterator = std::list<Pending>::iterator;

  void accept_next() {
    acceptor_.async_accept([this](const error_code& error, tcp::socket socket) {
      if (over_) return;
      if (!error) {
        read_greeting(std::move(socket));
        return accept_next();
      }
      retry_timer_.expires_after(kAcceptRetry);
      retry_timer_.async_wait([this](const error_code&) {
        if (!over_) accept_next();
      });
    });
  }

  void read_greeting(tcp::socket socket) {
    if (pending_.size() >= kMaxPendingConnections) {
      error_code ignored;
      pending_.front().socket.close(ignored);  // its handler, which is called with an error now, forgets it
    }
    const PendingIterator pending = pending_.insert(pending_.end(), Pending{std::move(socket)});
    asio::async_read(pending->socket, asio::buffer(pending->bytes),
                     [this, pending](const error_code& error, size_t) {
                       const std::optional<Greeting> greeting =
                           decode_greeting(pending->bytes, GreetingKind::kHello, key_);
                       const bool expected = greeting && greeting->epoch == epoch_ &&
                                             greeting->num_ranks == connected_.size() &&
                                             greeting->rank < connected_.size();
                       if (error || !expected || over_) {
                         pending_.erase(pending);
                       } else {
                         answer(pending, *greeting);
                       }
                     });
  }

  void answer(PendingIterator pending, const Greeting& greeting) {
    pending->bytes = encode(greeting, GreetingKind::kWelcome, key_);
    asio::async_write(pending->socket, asio::buffer(pending->bytes),
                      [this, pending, rank = greeting.rank](const error_code& error, size_t) {
                        // A rank that comes again has given its first connection up.
                        if (!error && !over_) connected_[rank] = std::move(pending->socket);
                        pending_.erase(pending);
                        if (!over_ && missing_ranks().empty()) context_.stop();
                      });
  }

  asio::io_context& context_;
  tcp::acceptor& acceptor_;
  asio::steady_timer retry_timer_;
  uint64_t epoch_;
  const LinkKey key_;
  std::vector<std::optional<tcp::socket>> connected_;  // [num_ranks]
  std::list<Pending> pending_;
  bool over_ = false;
};

// Connects and greets once. Errors: UNAVAILABLE, DEADLINE_EXCEEDED.
absl::StatusOr<std::unique_ptr<TcpConnection>> greet(const tcp::resolver::results_type& endpoints,
                                                     const Greeting& greeting, const LinkKey& key,
                                                     Time deadline, const std::stop_token& stop) {
  auto connection = TcpConnection::connect(endpoints, std::min(deadline, now() + kConnectAttempt));
  if (!connection.ok()) return connection.status();
  const std::stop_callback on_stop(stop, [&connection] { (*connection)->close(); });
  const auto hello = encode(greeting, GreetingKind::kHello, key);
  const std::array<asio::const_buffer, 1> buffers = {asio::buffer(hello)};
  if (absl::Status status = (*connection)->write(buffers, deadline); !status.ok()) return status;
  std::array<std::byte, kGreetingBytes> answer{};
  if (absl::Status status = (*connection)->read(answer, deadline); !status.ok()) return status;
  if (decode_greeting(answer, GreetingKind::kWelcome, key) != greeting) {
    return absl::UnavailableError("the peer's answer is not that of a stage of this epoch");
  }
  return connection;
}

// Returns when the time has come, or a stop was requested.
void wait_until(Time time, const std::stop_token& stop) {
  std::mutex mutex;
  std::unique_lock lock(mutex);
  std::condition_variable_any().wait_until(lock, stop, time, [] { return false; });
}

absl::StatusOr<std::unique_ptr<Link>> connect_rank(const tcp::resolver::results_type& endpoints,
                                                   const Greeting& greeting, const LinkKey& key,
                                                   Time deadline, const std::stop_token& stop) {
  while (true) {
    auto connection = greet(endpoints, greeting, key, deadline, stop);
    if (stop.stop_requested()) return cancelled();
    if (connection.ok()) {
      return std::make_unique<TcpLink>(*std::move(connection), greeting.epoch,
                                       static_cast<int>(greeting.rank));
    }
    const Time retry = now() + kConnectRetry;
    if (retry >= deadline) {
      return absl::DeadlineExceededError(absl::StrCat(
          "rank ", greeting.rank, " cannot connect: ", std::string(connection.status().message())));
    }
    wait_until(retry, stop);
  }
}

}  // namespace

struct TcpLinkListener::Impl {
  explicit Impl(std::unique_ptr<asio::io_context> io_context)
      : context(std::move(io_context)), acceptor(*context) {}

  std::unique_ptr<asio::io_context> context;
  tcp::acceptor acceptor;
  int port = 0;
};

TcpLinkListener::TcpLinkListener(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TcpLinkListener::~TcpLinkListener() = default;

absl::StatusOr<std::unique_ptr<TcpLinkListener>> TcpLinkListener::listen(const std::string& host, int port) {
  const std::string address = absl::StrCat(host, ":", port);
  const auto refuse = [&](const error_code& error) {
    return absl::UnavailableError(absl::StrCat("cannot take links on ", address, ": ", error.message()));
  };
  if (port < 0 || port > UINT16_MAX) return refuse(asio::error::invalid_argument);
  auto context = make_io_context();
  if (!context.ok()) return context.status();
  auto impl = std::make_unique<Impl>(*std::move(context));

  error_code error;
  tcp::resolver resolver(*impl->context);
  const auto endpoints = resolver.resolve(host, absl::StrCat(port),
                                          tcp::resolver::passive | tcp::resolver::numeric_service, error);
  if (error) return refuse(error);
  const tcp::endpoint endpoint = endpoints.begin()->endpoint();
  impl->acceptor.open(endpoint.protocol(), error);
  if (!error) impl->acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) impl->acceptor.bind(endpoint, error);
  if (!error) impl->acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (!error) impl->port = impl->acceptor.local_endpoint(error).port();
  if (error) return refuse(error);
  return std::unique_ptr<TcpLinkListener>(new TcpLinkListener(std::move(impl)));
}

int TcpLinkListener::port() const {
  return impl_->port;
}

absl::StatusOr<std::vector<std::unique_ptr<Link>>> TcpLinkListener::accept(uint64_t epoch, const LinkKey& key,
                                                                           int num_ranks, Time deadline,
                                                                           const std::stop_token& stop) {
  impl_->context->restart();
  Acceptance acceptance(*impl_->context, impl_->acceptor, epoch, key, num_ranks);
  acceptance.run(deadline, stop);
  acceptance.finish();
  if (stop.stop_requested()) return cancelled();
  if (const std::vector<int> missing = acceptance.missing_ranks(); !missing.empty()) {
    return absl::DeadlineExceededError(
        absl::StrCat("no link of epoch ", epoch, " came from rank ", absl::StrJoin(missing, ", ")));
  }
  std::vector<std::unique_ptr<Link>> links;
  for (int rank = 0; rank < num_ranks; ++rank) {
    auto connection = TcpConnection::adopt(acceptance.take(rank));
    if (!connection.ok()) return connection.status();
    links.push_back(std::make_unique<TcpLink>(*std::move(connection), epoch, rank));
  }
  return links;
}

absl::StatusOr<std::vector<std::unique_ptr<Link>>> connect_links(const std::string& address, uint64_t epoch,
                                                                 const LinkKey& key, int num_ranks,
                                                                 Time deadline, const std::stop_token& stop) {
  const auto endpoints = resolve(address);
  if (!endpoints.ok()) return endpoints.status();
  std::vector<std::unique_ptr<Link>> links;
  for (int rank = 0; rank < num_ranks; ++rank) {
    const Greeting greeting{epoch, static_cast<uint32_t>(rank), static_cast<uint32_t>(num_ranks)};
    auto link = connect_rank(*endpoints, greeting, key, deadline, stop);
    if (!link.ok())
      return absl::Status(link.status().code(),
                          absl::StrCat(address, ": ", std::string(link.status().message())));
    links.push_back(*std::move(link));
  }
  return links;
}

}  // namespace octet::worker
