// The product, the plainest way, in double.
#include <cuda_bf16.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tests/cuda_emulator/device_memory.h"
#include "tests/cuda_emulator/include/cublasLt.h"
#include "tests/cuda_emulator/stream.h"

struct cublasLtContext {};
struct cublasLtMatmulDescOpaque {
  cublasOperation_t transposes_a = CUBLAS_OP_N;
  cublasOperation_t transposes_b = CUBLAS_OP_N;
};
struct cublasLtMatrixLayoutOpaque {
  cudaDataType_t type;
  uint64_t rows;
  uint64_t columns;
  int64_t leading_dimension;
};
struct cublasLtMatmulPreferenceOpaque {};

namespace {

using cuda_emulator::device_memory;

size_t element_size(cudaDataType_t type) {
  if (type == CUDA_R_8F_E4M3) return 1;
  return type == CUDA_R_16BF ? 2 : 4;
}

// Of a matrix of bf16 or fp8.
float element(const void* matrix, const cublasLtMatrixLayoutOpaque& layout, uint64_t row, uint64_t column) {
  const uint64_t i = column * static_cast<uint64_t>(layout.leading_dimension) + row;
  if (layout.type == CUDA_R_16BF) return __bfloat162float(static_cast<const __nv_bfloat16*>(matrix)[i]);
  const uint8_t code = static_cast<const uint8_t*>(matrix)[i];
  const int exponent = code >> 3 & 15;
  const int mantissa = code & 7;
  if ((code & 0x7f) == 0x7f) return NAN;
  const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                                        : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
  return (code & 0x80) != 0 ? -magnitude : magnitude;
}

// Whether all of the matrix lies in one allocation of the device.
bool holds(const void* memory, const cublasLtMatrixLayoutOpaque& layout, int device) {
  const size_t element = element_size(layout.type);
  const size_t num_bytes =
      ((layout.columns - 1) * static_cast<size_t>(layout.leading_dimension) + layout.rows) * element;
  const auto address = reinterpret_cast<uintptr_t>(memory);
  const auto allocation = device_memory().find(address);
  return allocation && allocation->device == device && address % 16 == 0 &&
         address - allocation->begin + num_bytes <= allocation->num_bytes;
}

bool fit(const cublasLtMatmulDescOpaque& desc, const cublasLtMatrixLayoutOpaque& a,
         const cublasLtMatrixLayoutOpaque& b, const cublasLtMatrixLayoutOpaque& d) {
  const auto well_formed = [](const cublasLtMatrixLayoutOpaque& m) {
    return m.rows > 0 && m.columns > 0 && m.leading_dimension >= static_cast<int64_t>(m.rows);
  };
  // fp8 comes in multiples of 16.
  const auto is_multiplied = [](const cublasLtMatrixLayoutOpaque& m) {
    return m.type == CUDA_R_16BF ||
           (m.type == CUDA_R_8F_E4M3 && m.rows % 16 == 0 && m.leading_dimension % 16 == 0);
  };
  return desc.transposes_a == CUBLAS_OP_T && desc.transposes_b == CUBLAS_OP_N && is_multiplied(a) &&
         a.type == b.type && d.type == CUDA_R_32F && well_formed(a) && well_formed(b) && well_formed(d) &&
         a.rows == b.rows && d.rows == a.columns && d.columns == b.columns;
}

// As an algorithm chosen for the number of columns does, it divides the depth by that number, so that the
// bits of a column depend on how many there are.
void multiply(const void* a, const cublasLtMatrixLayoutOpaque& a_layout, const void* b,
              const cublasLtMatrixLayoutOpaque& b_layout, float* d,
              const cublasLtMatrixLayoutOpaque& d_layout) {
  const uint64_t slice = std::max<uint64_t>(1, a_layout.rows / (1 + d_layout.columns % 4));
  for (uint64_t column = 0; column < d_layout.columns; ++column) {
    for (uint64_t row = 0; row < d_layout.rows; ++row) {
      float sum = 0;
      for (uint64_t first = 0; first < a_layout.rows; first += slice) {
        double part = 0;
        for (uint64_t k = first; k < std::min(first + slice, a_layout.rows); ++k) {
          const float x = element(a, a_layout, k, row);
          const float y = element(b, b_layout, k, column);
          part += static_cast<double>(x) * static_cast<double>(y);
        }
        sum += static_cast<float>(part);
      }
      d[column * static_cast<uint64_t>(d_layout.leading_dimension) + row] = sum;
    }
  }
}

}  // namespace

const char* cublasLtGetStatusString(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
  }
  return "unknown";
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = new cublasLtContext;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* desc, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  if (compute != CUBLAS_COMPUTE_32F || scale != CUDA_R_32F) return CUBLAS_STATUS_NOT_SUPPORTED;
  *desc = new cublasLtMatmulDescOpaque;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
  delete desc;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
                                              cublasLtMatmulDescAttributes_t attribute, const void* value,
                                              size_t num_bytes) {
  if (num_bytes != sizeof(cublasOperation_t)) return CUBLAS_STATUS_INVALID_VALUE;
  cublasOperation_t operation;
  std::memcpy(&operation, value, sizeof operation);
  (attribute == CUBLASLT_MATMUL_DESC_TRANSA ? desc->transposes_a : desc->transposes_b) = operation;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType_t type, uint64_t rows,
                                          uint64_t columns, int64_t leading_dimension) {
  *layout = new cublasLtMatrixLayoutOpaque{type, rows, columns, leading_dimension};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete layout;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = new cublasLtMatmulPreferenceOpaque;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t,
                                                    cublasLtMatmulPreferenceAttributes_t, const void*,
                                                    size_t num_bytes) {
  return num_bytes == sizeof(size_t) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t, int num_wanted,
                                              cublasLtMatmulHeuristicResult_t* results, int* num_found) {
  *num_found = 0;
  if (num_wanted < 1) return CUBLAS_STATUS_INVALID_VALUE;
  if (!fit(*desc, *a, *b, *d)) return CUBLAS_STATUS_NOT_SUPPORTED;
  results[0] = {};
  *num_found = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout,
                              const void* beta, const void* c, cublasLtMatrixLayout_t, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t*, void*, size_t,
                              cudaStream_t stream) {
  if (*static_cast<const float*>(alpha) != 1 || *static_cast<const float*>(beta) != 0 || c != d) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  const int device = cuda_emulator::device_of(stream);
  if (!fit(*desc, *a_layout, *b_layout, *d_layout)) return CUBLAS_STATUS_INVALID_VALUE;
  if (!holds(a, *a_layout, device) || !holds(b, *b_layout, device) || !holds(d, *d_layout, device)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  cuda_emulator::add_work(stream, [=, a_copy = *a_layout, b_copy = *b_layout, d_copy = *d_layout] {
    multiply(a, a_copy, b, b_copy, static_cast<float*>(d), d_copy);
  });
  return CUBLAS_STATUS_SUCCESS;
}
