# Helpers that every folder's CMakeLists.txt uses, and the compiler options that all targets share.

get_filename_component(OCTET_ROOT ${CMAKE_CURRENT_LIST_DIR}/../.. ABSOLUTE)
option(OCTET_WERROR "Warnings are errors" ON)

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()
find_program(MOLD mold)
find_program(LLD ld.lld)

add_library(octet_options INTERFACE)
target_include_directories(octet_options INTERFACE ${OCTET_ROOT})
set(OCTET_CXX_FLAGS -Wall -Wextra $<$<BOOL:${OCTET_WERROR}>:-Werror> -Wvla -Wshadow=local -Wnon-virtual-dtor -ffp-contract=off
    # GCC 12 reports these inside its own and Boost's headers at -O2.
    -Wno-maybe-uninitialized -Wno-restrict)
target_compile_options(octet_options INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${OCTET_CXX_FLAGS}>")
if(MOLD)
  target_link_options(octet_options INTERFACE -fuse-ld=mold)
elseif(LLD)
  target_link_options(octet_options INTERFACE -fuse-ld=lld)
endif()
if(OCTET_SANITIZE)
  target_compile_options(octet_options INTERFACE -fsanitize=${OCTET_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(octet_options INTERFACE -fsanitize=${OCTET_SANITIZE})
  if(OCTET_SANITIZE MATCHES thread)
    # Asio has fences, which ThreadSanitizer does not follow; the locks beside them suffice for it.
    target_compile_options(octet_options INTERFACE -Wno-tsan)
  endif()
endif()

# octet_library(NAME SOURCES a.cc b.cc DEPS octet::x third::party): a static library octet::NAME (an interface
# library when it has no sources). What is not in DEPS cannot be linked, so DEPS is the layer's list of allowed uses.
function(octet_library NAME)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  if(ARG_SOURCES)
    add_library(octet_${NAME} STATIC ${ARG_SOURCES})
    target_link_libraries(octet_${NAME} PUBLIC octet_options ${ARG_DEPS})
  else()
    add_library(octet_${NAME} INTERFACE)
    target_link_libraries(octet_${NAME} INTERFACE octet_options ${ARG_DEPS})
  endif()
  add_library(octet::${NAME} ALIAS octet_${NAME})
endfunction()

# octet_embed(TARGET FUNCTION file): compiles the file's bytes into the target (embed.cmake).
function(octet_embed TARGET FUNCTION FILE)
  set(OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/embedded/${FUNCTION}.cc)
  set(SCRIPT ${OCTET_ROOT}/tools/cmake/embed.cmake)
  add_custom_command(OUTPUT ${OUTPUT}
    COMMAND ${CMAKE_COMMAND} -DINPUT=${CMAKE_CURRENT_SOURCE_DIR}/${FILE} -DOUTPUT=${OUTPUT} -DFUNCTION=${FUNCTION} -P ${SCRIPT}
    DEPENDS ${FILE} ${SCRIPT}
    VERBATIM)
  target_sources(octet_${TARGET} PRIVATE ${OUTPUT})
endfunction()

# octet_binary(NAME SOURCES main.cc DEPS ...): an executable build/<preset>/bin/NAME.
function(octet_binary NAME)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${NAME} ${ARG_SOURCES})
  target_link_libraries(${NAME} PRIVATE octet_options ${ARG_DEPS})
endfunction()

# octet_test(NAME SOURCES x_test.cc DEPS ... [TIMEOUT seconds] [LABELS ...]): a GoogleTest program that ctest runs as
# one test, with the source tree's root as its working directory.
function(octet_test NAME)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;DEPS;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  add_executable(${NAME} ${ARG_SOURCES})
  target_link_libraries(${NAME} PRIVATE octet_options ${ARG_DEPS} GTest::gmock GTest::gtest_main)
  add_test(NAME ${NAME} COMMAND ${NAME} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(${NAME} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}")
endfunction()

# octet_cuda_emulated(TARGET a.cu b.cu): the host compiler compiles these sources of the target for the emulator of
# tests/cuda_emulator, with a call at every access of memory. -O1: later passes would merge accesses.
function(octet_cuda_emulated TARGET)
  set_source_files_properties(${ARGN} TARGET_DIRECTORY ${TARGET} PROPERTIES
    LANGUAGE CXX COMPILE_OPTIONS "-x;c++;-O1;-fsanitize=thread,alignment;-Wno-tsan;-Wno-unknown-pragmas")
endfunction()
