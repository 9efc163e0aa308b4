#!/usr/bin/env bash
# Compares Octet with llama.cpp on this machine, and prints the tables in Markdown. Builds what is missing under build/:
# Octet, a Python environment with llama-cpp-python and llama-server from the same source, both for this processor, and a model
# of random weights (4.3 GB). The first run takes about fifteen minutes longer. Needs python3-venv, network for pip, 16 GB of
# memory, and an idle machine.
# usage: tools/bench/peers/run.sh [OPTION OF compare.py]...      such as --rounds 1, --parts server, --weights bf16
#   OCTET_PEERS=DIR         where the environment and the server are, instead of build/peers
#   OCTET_PEERS_MODELS=DIR  where the model is, instead of build/peers/models
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."

here=tools/bench/peers
peers=${OCTET_PEERS:-build/peers}
models=${OCTET_PEERS_MODELS:-$peers/models}
python=$peers/venv/bin/python
server=$peers/llama/bin/llama-server
say() { printf 'run.sh: %s\n' "$*" >&2; }

# Objects of the two builds of llama.cpp are mostly the same.
launcher=()
! command -v ccache >/dev/null || launcher=(-DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache)

make_python() {
  say "making $peers/venv; llama.cpp is compiled, which takes minutes"
  python3 -m venv "$peers/venv"
  CMAKE_ARGS="-DGGML_NATIVE=ON ${launcher[*]}" \
    "$python" -m pip install -q --no-binary llama-cpp-python -r $here/requirements.txt
}

make_server() {
  say "building llama-server"
  local source=$peers/source version
  version=$(sed -n 's/^llama-cpp-python==//p' $here/requirements.txt)
  rm -rf "$source"
  "$python" -m pip download -q --no-deps --no-binary llama-cpp-python -d "$source" "llama-cpp-python==$version"
  tar -xf "$source"/llama_cpp_python-*.tar.gz -C "$source"
  cmake -S "$source"/llama_cpp_python-*/vendor/llama.cpp -B "$peers/llama" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DGGML_NATIVE=ON -DBUILD_SHARED_LIBS=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_BUILD_TESTS=OFF \
    -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_OPENSSL=OFF "${launcher[@]}" >"$peers/llama.log"
  ninja -C "$peers/llama" llama-server >>"$peers/llama.log"
}

make_octet() {
  say "building Octet"
  cmake --preset release >/dev/null
  ninja -C build/release octet-bench-model octet-bench-machine octet-worker octet-router >&2
}

make_model() {
  say "writing the model into $models"
  "$python" $here/make_model.py "$models"
}

mkdir -p "$peers"
"$python" -c 'import llama_cpp, gguf, numpy' 2>/dev/null || make_python
[[ -x $server ]] || make_server
make_octet
[[ -f $models/octet/config.json ]] || make_model
exec "$python" $here/compare.py --models "$models" --bin build/release/bin --llama-server "$server" --out "$peers/out" "$@"
