#include "worker/cuda_ranks.h"
#include "worker/run_worker.h"

int main(int argc, char** argv) {
  return octet::worker::run_worker(argc, argv, {{"cuda", octet::worker::make_cuda_ranks}});
}
