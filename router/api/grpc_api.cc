// The service octet.v1.Generation. Calls that generate are in grpc_generate and grpc_score; the others answer
// at once, on gRPC's own threads.
#include <memory>
#include <utility>

#include "base/grpc_server.h"
#include "octet/v1/generation.grpc.pb.h"
#include "router/api/apis.h"
#include "router/api/grpc_convert.h"
#include "router/api/grpc_generate.h"
#include "router/api/grpc_score.h"

namespace octet::router {
namespace {

absl::Status tokenize(const v1::TokenizeRequest& request, const ServiceContext& context,
                      v1::TokenizeResponse& response) {
  if (absl::Status status = refuse_unknown_fields(request); !status.ok()) return status;
  const ValidationContext validation = context.validation();
  if (absl::Status status = check_model(request.model(), validation.model); !status.ok()) return status;
  const auto tokens = tokenize_prompt(to_prompt(request), /*add_bos=*/false, validation);
  if (!tokens.ok()) return tokens.status();
  response.mutable_token_ids()->Add(tokens->begin(), tokens->end());
  for (const TokenId token : *tokens) response.add_tokens(token_text(token, *validation.tokenizer));
  response.set_max_model_len_tokens(validation.model.max_model_len);
  return absl::OkStatus();
}

absl::Status list_models(const v1::ListModelsRequest& request, const ServiceContext& context,
                         v1::ListModelsResponse& response) {
  if (absl::Status status = refuse_unknown_fields(request); !status.ok()) return status;
  const ModelInfo model = context.validation().model;
  v1::Model& out = *response.add_models();
  out.set_name(model.name);
  out.set_max_model_len_tokens(model.max_model_len);
  out.set_vocab_size(model.vocab_size);
  out.set_backend(model.backend);
  return absl::OkStatus();
}

class GrpcApi final : public v1::Generation::CallbackService {
 public:
  explicit GrpcApi(ServiceContext& context) : context_(context) {}

  grpc::ServerWriteReactor<v1::GenerateResponse>* Generate(grpc::CallbackServerContext* call,
                                                           const v1::GenerateRequest* request) override {
    const auto reactor = std::make_shared<GenerateCall>(context_, *call);
    reactor->begin(*request);
    return reactor.get();
  }

  grpc::ServerUnaryReactor* Score(grpc::CallbackServerContext* call, const v1::ScoreRequest* request,
                                  v1::ScoreResponse* response) override {
    const auto reactor = std::make_shared<ScoreCall>(context_, *call, *response);
    reactor->begin(*request);
    return reactor.get();
  }

  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* call, const v1::TokenizeRequest* request,
                                     v1::TokenizeResponse* response) override {
    return answer(*call, tokenize(*request, context_, *response));
  }

  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* call,
                                       const v1::ListModelsRequest* request,
                                       v1::ListModelsResponse* response) override {
    return answer(*call, list_models(*request, context_, *response));
  }

 private:
  static grpc::ServerUnaryReactor* answer(grpc::CallbackServerContext& call, const absl::Status& status) {
    grpc::ServerUnaryReactor* reactor = call.DefaultReactor();
    reactor->Finish(to_grpc(status));
    return reactor;
  }

  ServiceContext& context_;
};

}  // namespace

std::unique_ptr<grpc::Service> make_grpc_api(ServiceContext& context) {
  return std::make_unique<GrpcApi>(context);
}

}  // namespace octet::router
