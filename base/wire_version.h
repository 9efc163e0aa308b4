// The version of what routers and leads say to each other (pipeline.proto). Of two versions, each refuses the
// other by name.
#pragma once

#include <cstdint>

namespace octet {

// Raised with every change that an older process would misunderstand.
inline constexpr uint32_t kPipelineWireVersion = 1;

}  // namespace octet
