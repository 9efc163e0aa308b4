// The APIs that clients speak. Each parses its own form into a RequestDraft and turns pieces into its own
// answers.
#pragma once

#include <memory>

#include "router/api/http_server.h"
#include "router/api/service_context.h"

namespace grpc {
class Service;
}  // namespace grpc

namespace octet::router {

// gRPC octet.v1.Generation.
std::unique_ptr<grpc::Service> make_grpc_api(ServiceContext& context);
// POST /v1/completions, /v1/chat/completions, /v1/tokenize and /v1/detokenize; GET /v1/models and
// /v1/tokenizer_info.
void add_openai_routes(HttpServer::Routes& routes, ServiceContext& context);
// PUT /generate, as NeMo's text_generation_server.
void add_nemo_routes(HttpServer::Routes& routes, ServiceContext& context);

}  // namespace octet::router
