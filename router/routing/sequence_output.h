// What a lead's news of a sequence mean, whoever hears of them.
#pragma once

#include "octet/v1/pipeline.pb.h"

namespace octet::router {

// Whether nothing follows for the sequence.
inline bool is_last(const v1::SequenceOutput& output) {
  return output.error_code() != 0 || output.finish_reason() != v1::FINISH_REASON_UNSPECIFIED;
}

}  // namespace octet::router
