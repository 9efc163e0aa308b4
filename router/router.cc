#include "router/router.h"

#include <grpcpp/impl/service_type.h>

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <future>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/grpc_server.h"
#include "base/log.h"
#include "base/metrics_endpoint.h"
#include "base/status.h"
#include "router/api/apis.h"
#include "router/api/error_mapping.h"
#include "router/web/web_pages.h"

namespace octet::router {
namespace {

namespace asio = boost::asio;

constexpr Duration kReadyPoll = std::chrono::milliseconds(20);
constexpr Duration kProgressPeriod = std::chrono::seconds(1);
// A loop that has not turned for so long makes no progress.
constexpr Duration kStallLimit = std::chrono::seconds(5);
constexpr Duration kLoopTimeout = std::chrono::minutes(1);  // to turn once
constexpr Duration kDrainPoll = std::chrono::milliseconds(20);
// For answers that are whole but not read yet.
constexpr auto kFlushTimeout = std::chrono::milliseconds(2000);

// Tells at start, not when the first pipeline is ready, that a port is taken.
absl::Status check_port(const std::string& host, int port, const char* flag) {
  asio::io_context loop;
  boost::system::error_code error;
  const auto found = asio::ip::tcp::resolver(loop).resolve(host, std::to_string(port),
                                                           asio::ip::tcp::resolver::passive, error);
  if (error || found.empty())
    return absl::UnavailableError(absl::StrCat("--host ", host, ": ", error.message()));
  const asio::ip::tcp::endpoint endpoint = found.begin()->endpoint();
  asio::ip::tcp::acceptor acceptor(loop);
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat(flag, ": cannot listen on ", host, ":", port, ": ", error.message()));
}

absl::StatusOr<ChatFormat> chat_format(const RouterConfig& config) {
  if (!config.chat_format.empty()) {
    auto format = parse_chat_format(config.chat_format);
    if (format.ok()) return format;
    return invalid_field("--chat-format", std::string(format.status().message()));
  }
  return chat_format_of_folder(std::filesystem::path(config.tokenizer).parent_path().string());
}

PipelinePool::Options pool_options(const RouterConfig& config, uint32_t vocab_size,
                                   std::shared_ptr<TlsFiles> cluster) {
  PipelinePool::Options options;
  options.vocab_size = vocab_size;
  options.room = {.max_sequences = config.pipeline_max_sequences,
                  .max_prompt_tokens = config.pipeline_max_prompt_tokens};
  PipelineClientOptions& client = options.client;
  client.silence_timeout = config.pipeline_timeout;
  client.watch_interval = std::min(client.watch_interval, config.pipeline_timeout / 4);
  client.max_pause = config.move_wait;
  client.connect = connect_by_grpc(std::move(cluster));
  return options;
}

PipelineGenerator::Limits generator_limits(const RouterConfig& config) {
  PipelineGenerator::Limits limits;
  limits.max_requests = config.max_requests;
  limits.max_sequences = config.max_sequences;
  limits.queue = {.max_requests = config.max_queued_requests,
                  .max_tokens = config.max_queued_tokens,
                  .max_wait = config.max_queue_wait};
  limits.moves.wait = config.move_wait;
  limits.moves.max_in_a_row = config.max_moves;
  return limits;
}

// Every path needs a key but what a browser loads before anyone could have typed one in.
HttpGate key_gate(Access& access) {
  return [&access](HttpRequest& request) -> std::optional<HttpRefusal> {
    if (request.path == "/" || request.path == "/openapi.json") return std::nullopt;
    auto key = access.authenticate(request.header("authorization"), Scope::kInference);
    if (!key.ok()) {
      if (request.record) request.record->status = key.status();
      return HttpRefusal{http_status(key.status()), openai_error_body(key.status()),
                         error_headers(key.status())};
    }
    request.key = *std::move(key);
    if (request.record) request.record->tenant = request.key->tenant.name;
    return std::nullopt;
  };
}

}  // namespace

absl::StatusOr<std::unique_ptr<Router>> Router::make(const RouterConfig& config) {
  Credentials credentials;
  for (const auto& [paths, use, files] :
       {std::tuple{&config.tls, TlsFiles::Use::kPublic, &credentials.clients},
        {&config.metrics_tls, TlsFiles::Use::kPublic, &credentials.metrics},
        {&config.cluster, TlsFiles::Use::kCluster, &credentials.cluster}}) {
    auto opened = open_if_given(*paths, use);
    if (!opened.ok()) return opened.status();
    *files = *std::move(opened);
  }
  auto tokenizer = Tokenizer::load(config.tokenizer);
  if (!tokenizer.ok()) return tokenizer.status();
  const auto format = chat_format(config);
  if (!format.ok()) return format.status();
  auto chat_template = ChatTemplate::make(*tokenizer, *format);
  if (!chat_template.ok()) return chat_template.status();
  for (const auto& [port, flag] :
       {std::pair{config.grpc_port, "--grpc-port"}, {config.http_port, "--http-port"}}) {
    if (absl::Status status = check_port(config.host, port, flag); !status.ok()) return status;
  }
  auto router = std::unique_ptr<Router>(
      new Router(config, std::move(credentials), *std::move(tokenizer), *std::move(chat_template)));
  if (absl::Status status = router->open_access(); !status.ok()) return status;
  if (absl::Status status = router->open_recorder(); !status.ok()) return status;
  if (absl::Status status = router->open_metrics(); !status.ok()) return status;
  return router;
}

Router::Router(const RouterConfig& config, Credentials credentials,
               std::shared_ptr<const Tokenizer> tokenizer, ChatTemplate chat_template)
    : config_(config),
      credentials_(std::move(credentials)),
      tokenizer_(std::move(tokenizer)),
      chat_template_(std::move(chat_template)),
      credential_metrics_(*metrics_.registry(), {{"public", credentials_.clients},
                                                 {"metrics", credentials_.metrics},
                                                 {"cluster", credentials_.cluster}}),
      loop_(1),
      work_(asio::make_work_guard(loop_)),
      pool_(loop_, pool_options(config, tokenizer_->vocab_size(), credentials_.cluster), metrics_,
            {.on_change = [this] { update_ready(); }, .on_room = [this] { generator_.on_room(); }}),
      discovery_(
          loop_,
          {.entries = config.pipelines, .file = config.pipelines_file, .interval = config.discovery_interval},
          [this](const auto& addresses) { pool_.use(addresses); }),
      generator_(loop_, pool_, tokenizer_, metrics_, generator_limits(config)),
      metered_(loop_, generator_, metrics_,
               [this](const std::string& tenant) { return access_ ? access_->quota_of(tenant) : Quota(); }) {}

Router::~Router() {
  if (loop_thread_.joinable()) {
    on_loop([this] { serving_ = false; });
    grpc_server_.reset();  // ends its calls, which needs the loop
  }
  loop_.stop();
  if (loop_thread_.joinable()) loop_thread_.join();
}

absl::Status Router::open_access() {
  if (config_.api_keys.empty()) return absl::OkStatus();
  auto access = Access::open(config_.api_keys, metrics_);
  if (access.ok()) access_ = *std::move(access);
  return access.status();
}

absl::Status Router::open_recorder() {
  std::vector<CallSink*> sinks;
  if (!config_.access_log.empty()) {
    auto log = AccessLog::open(config_.access_log, metrics_);
    if (!log.ok()) return log.status();
    access_log_ = *std::move(log);
    sinks.push_back(access_log_.get());
  }
  if (!config_.otlp_endpoint.empty()) {
    auto exporter = OtlpExporter::open(
        {.endpoint = config_.otlp_endpoint, .service_name = config_.otlp_service_name}, metrics_);
    if (!exporter.ok()) return exporter.status();
    exporter_ = *std::move(exporter);
    sinks.push_back(exporter_.get());
  }
  if (sinks.empty()) return absl::OkStatus();
  const CallRecorder::Options options{.traces = exporter_ != nullptr,
                                      .sample_ratio = config_.trace_sample_ratio};
  calls_ = std::make_unique<CallRecorder>(options, std::move(sinks));
  return absl::OkStatus();
}

absl::Status Router::open_metrics() {
  auto endpoint = MetricsEndpoint::listen(
      config_.host, config_.metrics_port, metrics_.registry(), [this] { return ready_.load(); },
      [this] { return live_.load(); }, credentials_.metrics);
  if (!endpoint.ok()) return endpoint.status();
  metrics_endpoint_ = *std::move(endpoint);
  spdlog::info("metrics on {}:{}", config_.host, metrics_endpoint_->port());
  return absl::OkStatus();
}

absl::Status Router::run(StopSignal& stop) {
  loop_thread_ = std::thread([this] { loop_.run(); });
  asio::post(loop_, [this] { discovery_.start(); });
  spdlog::info("waiting for a pipeline");
  while (!any_pipeline_) {
    if (stop.wait(now() + kReadyPoll) != 0) return absl::OkStatus();
  }
  if (absl::Status status = open_apis(); !status.ok()) return status;
  if (absl::Status status = write_port_file(); !status.ok()) return status;
  int signal_number = 0;
  while (signal_number == 0) {
    watch_progress();
    signal_number = stop.wait(now() + kProgressPeriod);
  }
  spdlog::info("signal {}", signal_number);
  drain();
  return absl::OkStatus();
}

absl::Status Router::open_apis() {
  ValidationContext validation{
      .tokenizer = tokenizer_, .chat_template = &chat_template_, .model = {}, .limits = {}};
  validation.limits.max_choices = std::min(validation.limits.max_choices, config_.max_sequences);
  validation.limits.default_timeout = config_.default_timeout;
  on_loop([&] { validation.model = pool_.model().value(); });
  context_.emplace(ServiceContext{.loop = loop_,
                                  .tokenizer = tokenizer_,
                                  .chat_template = chat_template_,
                                  .generator = metered_,
                                  .metrics = metrics_,
                                  .validation = [validation] { return validation; },
                                  .access = access_.get(),
                                  .calls = calls_.get()});

  grpc_api_ = make_grpc_api(*context_);
  GrpcServer::Options options;
  options.host = config_.host;
  options.port = config_.grpc_port;
  options.max_message_bytes = static_cast<int>(config_.max_body_mib) << 20;
  options.tls = credentials_.clients;
  auto server = GrpcServer::start(options, {grpc_api_.get()});
  if (!server.ok()) return server.status();
  grpc_server_ = *std::move(server);
  if (absl::Status status = open_http(); !status.ok()) return status;
  on_loop([this] {
    serving_ = true;
    update_ready();
  });
  spdlog::info("serving {}: gRPC on {}:{}, HTTP on {}:{}", loggable(validation.model.name), config_.host,
               grpc_server_->port(), config_.host, http_server_->port());
  return absl::OkStatus();
}

absl::Status Router::open_http() {
  absl::Status status;
  on_loop([this, &status] {
    HttpServer::Routes routes;
    add_openai_routes(routes, *context_);
    add_nemo_routes(routes, *context_);
    add_web_routes(routes);
    HttpLimits limits;
    limits.max_body_bytes = size_t{config_.max_body_mib} << 20;
    auto server =
        HttpServer::listen(loop_, config_.host, config_.http_port, std::move(routes), limits,
                           credentials_.clients, access_ ? key_gate(*access_) : HttpGate(), calls_.get());
    status = server.status();
    if (server.ok()) http_server_ = *std::move(server);
  });
  return status;
}

absl::Status Router::write_port_file() const {
  if (config_.port_file.empty()) return absl::OkStatus();
  const std::string text =
      absl::StrCat("{\"grpc_port\": ", grpc_server_->port(), ", \"http_port\": ", http_server_->port(),
                   ", \"metrics_port\": ", metrics_endpoint_->port(), "}\n");
  // Written beside it and renamed, so that a reader finds it whole or not at all.
  const std::string unfinished = absl::StrCat(config_.port_file, ".part");
  std::ofstream file(unfinished);
  file << text;
  file.close();
  if (!file || std::rename(unfinished.c_str(), config_.port_file.c_str()) != 0) {
    return absl::UnavailableError(absl::StrCat("--port-file: cannot write ", config_.port_file));
  }
  spdlog::info("ports written to {}", config_.port_file);
  return absl::OkStatus();
}

void Router::watch_progress() {
  credential_metrics_.update();
  const Time last = last_turn_.load();
  const bool progressing = last == Time() || now() - last < kStallLimit;
  if (progress_.set(progressing, now())) {
    spdlog::log(progressing ? spdlog::level::info : spdlog::level::err, "the event loop {}",
                progressing ? "turns again" : "has not turned for 5 s");
  }
  live_ = progress_.live(now());
  metrics_.progressing.Set(progressing ? 1 : 0);
  grpc_server_->set_serving("progress", progressing);
  grpc_server_->set_serving("live", live_);
  asio::post(loop_, [this] { last_turn_ = now(); });
}

void Router::update_ready() {
  const bool any = pool_.num_ready() > 0;
  any_pipeline_ = any;
  ready_ = any && serving_;
  if (serving_) grpc_server_->set_serving("ready", ready_);
}

void Router::drain() {
  const Time deadline = now() + config_.drain_timeout;
  on_loop([this] {
    ready_ = false;
    serving_ = false;
    grpc_server_->set_serving("ready", false);
    generator_.drain();
    http_server_->stop_accepting();
  });
  spdlog::info("draining: not ready, {} requests or connections are left", num_busy());
  while (num_busy() > 0 && now() < deadline) std::this_thread::sleep_for(kDrainPoll);
  const size_t num_left = num_busy();
  if (num_left > 0) spdlog::warn("{} requests or connections are cut off", num_left);
  grpc_server_->shutdown(num_left > 0 ? std::chrono::milliseconds(0) : kFlushTimeout);
}

size_t Router::num_busy() {
  size_t result = 0;
  on_loop([this, &result] { result = std::max(generator_.num_requests(), http_server_->num_connections()); });
  return result;
}

void Router::on_loop(const std::function<void()>& f) {
  std::promise<void> done;
  asio::post(loop_, [&f, &done] {
    f();
    done.set_value();
  });
  const bool turned = done.get_future().wait_for(kLoopTimeout) == std::future_status::ready;
  OCTET_CHECK(turned, "the event loop hangs");
}

}  // namespace octet::router
