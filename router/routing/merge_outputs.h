// What a pipeline told in several steps as if it were one: a router that is behind handles, and writes to its
// client, each sequence once.
#pragma once

#include <vector>

#include "octet/v1/pipeline.pb.h"

namespace octet::router {

// responses: in order. Sequences stand in the order of their first news, with their tokens in order up to
// their last news.
v1::SubmitResponse in_one(std::vector<v1::SubmitResponse> responses);

}  // namespace octet::router
