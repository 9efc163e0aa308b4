// octet-worker: one stage of a pipeline. Loads the stage, serves it, and drains on SIGTERM.
#pragma once

#include <map>
#include <string>

#include "worker/stage/stage.h"

namespace octet::worker {

// Backends beside the CPU's that --backend may name.
using OtherBackends = std::map<std::string, RankFactory>;

// The whole program; its exit code.
int run_worker(int argc, char** argv, const OtherBackends& other_backends = {});

}  // namespace octet::worker
