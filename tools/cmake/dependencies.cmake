# Third-party packages, all from Debian 12 (deploy/dependencies.txt), each under one CMake name.

find_package(Threads REQUIRED)
find_package(Protobuf REQUIRED)
find_package(absl REQUIRED)
find_package(spdlog REQUIRED)
find_package(GTest REQUIRED)
find_package(benchmark REQUIRED)
find_package(prometheus-cpp REQUIRED COMPONENTS core)
find_package(Boost 1.81 REQUIRED COMPONENTS context json)
find_package(OpenSSL 3.0 REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(grpcpp REQUIRED IMPORTED_TARGET grpc++)
pkg_check_modules(sentencepiece REQUIRED IMPORTED_TARGET sentencepiece)
find_program(GRPC_CPP_PLUGIN grpc_cpp_plugin REQUIRED)

add_library(octet_grpc INTERFACE)
target_link_libraries(octet_grpc INTERFACE PkgConfig::grpcpp protobuf::libprotobuf Threads::Threads)
add_library(third::grpc ALIAS octet_grpc)
add_library(octet_grpc_reflection INTERFACE)
target_link_libraries(octet_grpc_reflection INTERFACE -Wl,--no-as-needed grpc++_reflection -Wl,--as-needed)
add_library(third::grpc_reflection ALIAS octet_grpc_reflection)
add_library(octet_cli INTERFACE)  # header only
add_library(third::cli11 ALIAS octet_cli)
