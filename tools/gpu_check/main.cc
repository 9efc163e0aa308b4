#include "tools/gpu_check/gpu_check.h"

int main(int argc, char** argv) {
  return octet::gpu_check::run(argc, argv);
}
