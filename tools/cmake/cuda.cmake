# CUDA: its compiler and runtime, cuBLASLt and NCCL, each of the last two under one CMake name. From the toolkit of
# CUDACXX, CUDA_HOME or PATH, else from /usr/local/cuda, else from NVIDIA's Python packages in .venv, which
# tests/requirements.txt lists and tests/run.sh installs, or in those of python3.
file(GLOB OCTET_NVIDIA_PACKAGES ${OCTET_ROOT}/.venv/lib/python3*/site-packages/nvidia)
execute_process(COMMAND python3 -c "import nvidia; print(';'.join(nvidia.__path__), end='')"
                OUTPUT_VARIABLE OCTET_PYTHON_PACKAGES ERROR_QUIET RESULT_VARIABLE OCTET_PYTHON_RESULT)
list(APPEND OCTET_NVIDIA_PACKAGES ${OCTET_PYTHON_PACKAGES})
list(TRANSFORM OCTET_NVIDIA_PACKAGES APPEND /cu13 OUTPUT_VARIABLE OCTET_CUDA_PACKAGES)
list(TRANSFORM OCTET_NVIDIA_PACKAGES APPEND /nccl OUTPUT_VARIABLE OCTET_NCCL_PACKAGES)
if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  find_program(OCTET_NVCC nvcc HINTS $ENV{CUDA_HOME}/bin PATHS /usr/local/cuda/bin ${OCTET_CUDA_PACKAGES} PATH_SUFFIXES bin)
  if(NOT OCTET_NVCC)
    message(FATAL_ERROR "no nvcc in PATH, CUDA_HOME, /usr/local/cuda or .venv: install the CUDA 13 toolkit, or set CUDACXX")
  endif()
  set(CMAKE_CUDA_COMPILER ${OCTET_NVCC})
endif()
# Code for A100 and H100, and PTX for what comes after them.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90)
endif()
if(CCACHE)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
endif()
enable_language(CUDA)
# CMake 3.25 does not know that nvcc has C++20.
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)

# Packages have the libraries' run-time names only.
get_filename_component(OCTET_CUDA_ROOT ${CMAKE_CUDA_COMPILER} REALPATH)
get_filename_component(OCTET_CUDA_ROOT ${OCTET_CUDA_ROOT}/../.. ABSOLUTE)
find_path(CUDA_INCLUDE_DIR cublasLt.h HINTS ${OCTET_CUDA_ROOT}/include REQUIRED)
find_library(CUBLASLT_LIBRARY NAMES cublasLt libcublasLt.so.13 HINTS ${OCTET_CUDA_ROOT}/lib64 ${OCTET_CUDA_ROOT}/lib REQUIRED)
find_path(NCCL_INCLUDE_DIR nccl.h HINTS ${OCTET_CUDA_ROOT} ${OCTET_CUDA_ROOT}/../nccl PATHS ${OCTET_NCCL_PACKAGES}
          PATH_SUFFIXES include REQUIRED)
find_library(NCCL_LIBRARY NAMES nccl libnccl.so.2
             HINTS ${OCTET_CUDA_ROOT} ${OCTET_CUDA_ROOT}/../nccl PATHS ${OCTET_NCCL_PACKAGES}
             PATH_SUFFIXES lib64 lib REQUIRED)

add_library(octet_cuda INTERFACE)
target_include_directories(octet_cuda SYSTEM INTERFACE ${CUDA_INCLUDE_DIR})
target_link_libraries(octet_cuda INTERFACE ${CUBLASLT_LIBRARY})
target_compile_options(octet_cuda INTERFACE "$<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings>")
add_library(third::cuda ALIAS octet_cuda)
add_library(octet_nccl INTERFACE)
target_include_directories(octet_nccl SYSTEM INTERFACE ${NCCL_INCLUDE_DIR})
target_link_libraries(octet_nccl INTERFACE ${NCCL_LIBRARY})
add_library(third::nccl ALIAS octet_nccl)
