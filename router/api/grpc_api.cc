// The service octet.v1.Generation. Calls that generate are in grpc_generate and grpc_score; the others answer
// at once, on gRPC's own threads.
#include <memory>
#include <utility>

#include "base/grpc_server.h"
#include "octet/v1/generation.grpc.pb.h"
#include "router/api/apis.h"
#include "router/api/grpc_convert.h"
#include "router/api/grpc_generate.h"
#include "router/api/grpc_record.h"
#include "router/api/grpc_request.h"
#include "router/api/grpc_score.h"
#include "router/api/grpc_wire.h"

namespace octet::router {
namespace {

absl::Status tokenize(const v1::TokenizeRequest& request, const ValidationContext& validation,
                      v1::TokenizeResponse& response) {
  if (absl::Status status = check_model(request.model(), validation.model); !status.ok()) return status;
  const auto tokens = tokenize_prompt(to_prompt(request), /*add_bos=*/false, validation);
  if (!tokens.ok()) return tokens.status();
  response.mutable_token_ids()->Add(tokens->begin(), tokens->end());
  for (const TokenId token : *tokens) response.add_tokens(token_text(token, *validation.tokenizer));
  response.set_max_model_len_tokens(validation.model.max_model_len);
  return absl::OkStatus();
}

absl::Status list_models(const v1::ListModelsRequest&, const ValidationContext& validation,
                         v1::ListModelsResponse& response) {
  v1::Model& model = *response.add_models();
  model.set_name(validation.model.name);
  model.set_max_model_len_tokens(validation.model.max_model_len);
  model.set_vocab_size(validation.model.vocab_size);
  model.set_backend(validation.model.backend);
  return absl::OkStatus();
}

// The generated base classes that hand bytes to the methods below.
using RawService = v1::Generation::WithRawCallbackMethod_Generate<
    v1::Generation::WithRawCallbackMethod_Score<v1::Generation::WithRawCallbackMethod_Tokenize<
        v1::Generation::WithRawCallbackMethod_ListModels<v1::Generation::Service>>>>;

class GrpcApi final : public RawService {
 public:
  explicit GrpcApi(ServiceContext& context) : context_(context) {}

  grpc::ServerWriteReactor<grpc::ByteBuffer>* Generate(grpc::CallbackServerContext* call,
                                                       const grpc::ByteBuffer* request) override {
    const auto reactor = std::make_shared<GenerateCall>(context_, *call);
    reactor->begin(*request);
    return reactor.get();
  }

  grpc::ServerUnaryReactor* Score(grpc::CallbackServerContext* call, const grpc::ByteBuffer* request,
                                  grpc::ByteBuffer* answer) override {
    const auto reactor = std::make_shared<ScoreCall>(context_, *call, *answer);
    reactor->begin(*request);
    return reactor.get();
  }

  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* call, const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* answer) override {
    return answer_at_once<v1::TokenizeRequest, v1::TokenizeResponse>(*call, *request, *answer, "Tokenize",
                                                                     tokenize);
  }

  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* call, const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* answer) override {
    return answer_at_once<v1::ListModelsRequest, v1::ListModelsResponse>(*call, *request, *answer,
                                                                         "ListModels", list_models);
  }

 private:
  template <typename Request, typename Response, typename Method>
  grpc::ServerUnaryReactor* answer_at_once(grpc::CallbackServerContext& call, const grpc::ByteBuffer& bytes,
                                           grpc::ByteBuffer& answer, const char* name, Method method) {
    Request request;
    Response response;
    const auto record = begin_grpc_record(context_, call, name, /*operation=*/"");
    const std::string request_id = tell_request_id(call, "");
    const auto tenant = authenticate(context_, call);
    note_caller(request_id, tenant, record.get());
    absl::Status status = tenant.status();
    if (status.ok()) status = parse(bytes, request);
    if (status.ok()) status = method(request, context_.validation(), response);
    if (status.ok()) answer = serialize(response);
    end_grpc_record(record.get(), status);
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
