#!/usr/bin/env bash
# Builds Octet and serves a model on this machine: one router, and one pipeline of stage workers, all on 127.0.0.1.
# Progress and logs go to stderr; the answer goes to stdout.
set -euo pipefail

usage() {
  cat <<'END'
usage: deploy/local.sh [--once "QUESTION"] [--stages N] [--tp T] [--model DIR] [--backend B] [--port P] [--grpc-port P]

Installs what is missing (Debian 12; root or sudo), builds, starts a router and N stage workers, asks a question and
serves until Ctrl-C. A process that dies meanwhile is started again, where it was.

  --once "QUESTION"  ask this question, print only the answer on stdout, and end
  --stages N         stages of the pipeline (default 2)
  --tp T             ranks, which share a stage's layers (default 2)
  --model DIR        folder with config.json, *.safetensors and tokenizer.model (default deploy/nano)
  --backend B        cpu (default), or cuda-emulated: the CUDA kernels on emulated GPUs, one a rank, some tokens a second
  --port P           HTTP port (default 1424, or any free one with --once)
  --grpc-port P      gRPC port (default 50051, or any free one with --once)
  --help             this
END
}

say() { printf '%s\n' "$*" >&2; }
fail() {
  say "local.sh: $*"
  exit 1
}
refuse() {
  say "local.sh: $*; --help tells the flags"
  exit 2
}

# number_of FLAG VALUE MIN MAX: prints the value, or refuses it.
number_of() {
  if [[ ! $2 =~ ^[0-9]{1,5}$ ]] || ((10#$2 < $3 || 10#$2 > $4)); then
    refuse "$1 must be a number from $3 to $4, not '$2'"
  fi
  printf '%d' "$((10#$2))"
}

stages=2 tp=2 backend=cpu model='' http_port='' grpc_port='' once=0
question='Write a poem on NVIDIA in the style of Shakespeare'
while (($#)); do
  flag=$1
  case $flag in
    --help | -h)
      usage
      exit 0
      ;;
    --once | --stages | --tp | --model | --backend | --port | --grpc-port)
      (($# >= 2)) || refuse "$flag needs a value"
      ;;
    *) refuse "unknown flag '$flag'" ;;
  esac
  case $flag in
    --once) once=1 question=$2 ;;
    --stages) stages=$(number_of "$flag" "$2" 1 64) ;;
    --tp) tp=$(number_of "$flag" "$2" 1 64) ;;
    --model) model=$2 ;;
    --backend) backend=$2 ;;
    --port) http_port=$(number_of "$flag" "$2" 1 65535) ;;
    --grpc-port) grpc_port=$(number_of "$flag" "$2" 1 65535) ;;
  esac
  shift 2
done
# The program of the backend, and the flags that it needs.
case $backend in
  cpu) worker=octet-worker backend_flags=() ;;
  cuda-emulated) worker=octet-worker-cuda-emulated backend_flags=(--step-timeout 10m) ;;
  *) refuse "--backend must be cpu or cuda-emulated, not '$backend'" ;;
esac
[[ -n $question ]] || refuse "--once needs a question that is not empty"
[[ -z $model ]] || model=$(realpath -e "$model" 2>/dev/null) || fail "--model: no such folder"

cd "$(dirname "${BASH_SOURCE[0]}")/.."
model=${model:-$PWD/deploy/nano}
for file in config.json tokenizer.model; do
  [[ -f $model/$file ]] || fail "--model: $model has no $file"
done
readonly ready_seconds=120 stop_seconds=10 answer_seconds=600
readonly bin=build/release/bin

bash deploy/install_dependencies.sh build run
bash deploy/build.sh octet-router "$worker"

# Processes: started in the background, each with a log; name_of and log_of by process id, the others by name.
run_dir=$(mktemp -d "${TMPDIR:-/tmp}/octet-local.XXXXXX")
declare -A name_of=() command_of=() deaths_of=()
# So many deaths of one process in so many seconds are more than bad luck.
readonly max_deaths=5 deaths_seconds=60

log_of() { printf '%s/%s.log' "$run_dir" "${name_of[$1]}"; }

stop_all() {
  trap '' INT TERM
  local pid deadline=$((SECONDS + stop_seconds))
  for pid in "${!name_of[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  for pid in "${!name_of[@]}"; do
    while ((SECONDS < deadline)) && kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  rm -rf "$run_dir"
}
trap stop_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# start NAME COMMAND...: the process's port file is NAME.json in run_dir.
start() {
  local name=$1
  shift
  command_of[$name]=$(printf '%q ' "$@")
  launch "$name"
}
launch() {
  local command
  eval "command=(${command_of[$1]})"
  "${command[@]}" --port-file "$run_dir/$1.json" </dev/null >>"$run_dir/$1.log" 2>&1 &
  name_of[$!]=$1
}
# keep_port NAME FLAG KEY: the process gets the port that it has now when it is started again.
keep_port() { command_of[$1]=${command_of[$1]/"$2 0 "/"$2 $(port "$1" "$3") "}; }

# Ends the script, with the last words of a process that died.
check_alive() {
  local pid
  for pid in "${!name_of[@]}"; do
    kill -0 "$pid" 2>/dev/null && continue
    say "--- the last lines of ${name_of[$pid]}:"
    tail -n 15 "$(log_of "$pid")" >&2
    fail "${name_of[$pid]} ended"
  done
}

# Starts what has died again, a process that dies over and over aside.
revive() {
  local pid name status recent death
  for pid in "${!name_of[@]}"; do
    kill -0 "$pid" 2>/dev/null && continue
    name=${name_of[$pid]} status=0 recent=$SECONDS
    wait "$pid" || status=$?
    for death in ${deaths_of[$name]:-}; do ((SECONDS - death > deaths_seconds)) || recent+=" $death"; done
    deaths_of[$name]=$recent
    (($(wc -w <<<"$recent") <= max_deaths)) || check_alive
    say "$name ended with $status, starting it again"
    unset "name_of[$pid]"
    launch "$name"
  done
}

# wait_until SECONDS WHAT COMMAND...: polls until the command succeeds.
wait_until() {
  local deadline=$((SECONDS + $1)) what=$2 pid
  shift 2
  until "$@"; do
    check_alive
    if ((SECONDS >= deadline)); then
      for pid in "${!name_of[@]}"; do
        say "--- the last lines of ${name_of[$pid]}:"
        tail -n 5 "$(log_of "$pid")" >&2
      done
      fail "$what took more than the deadline"
    fi
    sleep 0.05
  done
}

# port NAME KEY: a port of a process, from its port file.
port() { jq -er ".$2" "$run_dir/$1.json"; }

is_ready() { curl -sf --max-time 2 -o /dev/null "http://127.0.0.1:$1/ready"; }

start_pipeline() {
  # One stage finds its CPUs itself; several share them.
  local stage lead=() threads=0
  if ((stages > 1)); then
    threads=$(($(nproc) / (stages * tp)))
    ((threads > 0)) || threads=1
  fi
  for ((stage = 0; stage < stages; ++stage)); do
    start "stage-$stage" "$bin/$worker" --model "$model" --stage "$stage" --stages "$stages" --tp "$tp" \
      --backend "$backend" "${backend_flags[@]}" --threads-per-rank "$threads" --host 127.0.0.1 --port 0 --link-port 0 --metrics-port 0 "${lead[@]}"
    if ((stage == 0)); then
      wait_until "$ready_seconds" "the lead stage's start" test -f "$run_dir/stage-0.json"
      keep_port stage-0 --port port
      lead=(--lead "127.0.0.1:$(port stage-0 port)")
    fi
  done
}

start_router() {
  local default_http=1424 default_grpc=50051
  if ((once)); then default_http=0 default_grpc=0; fi
  start router "$bin/octet-router" --tokenizer "$model/tokenizer.model" --pipeline "127.0.0.1:$(port stage-0 port)" \
    --host 127.0.0.1 --http-port "${http_port:-$default_http}" --grpc-port "${grpc_port:-$default_grpc}" --metrics-port 0
  wait_until "$ready_seconds" "the pipeline's start" test -f "$run_dir/router.json"
  keep_port router --http-port http_port
  keep_port router --grpc-port grpc_port
  keep_port router --metrics-port metrics_port
  wait_until "$ready_seconds" "the router's start" is_ready "$(port router metrics_port)"
}

# Prints the answer to the question.
ask() {
  local reply
  reply=$(jq -n --arg question "$question" '{temperature: 0, messages: [{role: "user", content: $question}]}' |
    curl -sS --max-time "$answer_seconds" -H 'Content-Type: application/json' --data-binary @- \
      "http://127.0.0.1:$(port router http_port)/v1/chat/completions") || fail "the router did not answer"
  jq -er '.choices[0].message.content' <<<"$reply" 2>/dev/null ||
    fail "the router refused: $(jq -er '.error.message' <<<"$reply" 2>/dev/null || printf '%s' "$reply")"
}

examples() {
  local http grpc lead metrics
  http=$(port router http_port) grpc=$(port router grpc_port) metrics=$(port router metrics_port)
  lead=$(port stage-0 metrics_port)
  cat <<END

Serving $model: $stages stages x $tp ranks.
  HTTP            http://127.0.0.1:$http
  gRPC            127.0.0.1:$grpc
  metrics         http://127.0.0.1:$metrics/metrics (router), http://127.0.0.1:$lead/metrics (lead stage)
  logs            $run_dir

Try, from another terminal:

  curl http://127.0.0.1:$http/v1/chat/completions -H 'Content-Type: application/json' \\
    -d '{"messages": [{"role": "user", "content": "What is the capital of France?"}], "temperature": 0}'

  curl -X PUT http://127.0.0.1:$http/generate -H 'Content-Type: application/json' \\
    -d '{"sentences": ["<extra_id_0>System\\n\\n<extra_id_1>User\\nExplain gravity.\\n<extra_id_1>Assistant\\n"],
         "tokens_to_generate": 64, "greedy": true, "end_strings": ["<extra_id_1>"]}'

  grpcurl -plaintext -d '{"chat": {"messages": [{"role": "user", "content": "List 3 fruits."}]}}' \\
    127.0.0.1:$grpc octet.v1.Generation/Generate

  python3 -c 'import openai
client = openai.OpenAI(base_url="http://127.0.0.1:$http/v1", api_key="none")
print(client.chat.completions.create(model=client.models.list().data[0].id, temperature=0,
      messages=[{"role": "user", "content": "Who are you?"}]).choices[0].message.content)'

Ctrl-C ends it.
END
}

say "Starting $stages stages x $tp ranks of $model"
start_pipeline
start_router
((once)) || say "Asking: $question"
answer=$(ask)
printf '%s\n' "$answer"
((!once)) || exit 0
examples >&2
while true; do
  revive
  sleep 0.2
done
