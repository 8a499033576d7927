#!/usr/bin/env bash
# What happens on a worker of a TPU; setup_vm.sh and run.sh call it there.
#
#   on_worker.sh install [HOST:/PATH]     the environment, and the share for runs
#   on_worker.sh run RUN COMMAND...       starts a run or, where it goes on already, follows it

set -euo pipefail
home=$HOME/attn
runs=$HOME/attn-runs

install() { # [SHARE]
  mkdir -p "$home" "$runs"
  tar -xzf "$HOME/attn.tar.gz" --directory "$home" --no-same-owner # tar refuses paths that lead out
  if [ -n "${1:-}" ] && ! mountpoint -q "$runs"; then
    command -v mount.nfs >/dev/null || sudo apt-get install -y -qq nfs-common
    sudo mount -t nfs "$1" "$runs"
    sudo chown "$(id -u)" "$runs"
  fi
  cd "$home"
  [ -x .venv/bin/python ] || python3 -m venv .venv
  local wanted
  wanted=$(sha256sum pyproject.toml | cut -d' ' -f1)
  if [ "$(cat .venv/installed 2>/dev/null)" != "$wanted" ]; then
    .venv/bin/pip install --quiet --upgrade pip build
    rm -rf dist
    .venv/bin/python -m build --quiet --wheel
    .venv/bin/pip install --quiet "$(echo dist/attn-*.whl)[tpu,experiments]"
    printf '%s\n' "$wanted" >.venv/installed
  fi
  .venv/bin/python -m tpu_setup.check_devices --local
}

run() { # RUN COMMAND...
  local state=$home/runs/.$1
  shift
  mkdir -p "$state"
  if ! { [ -f "$state/pid" ] && kill -0 "$(cat "$state/pid")" 2>/dev/null; }; then
    rm -f "$state/code"
    # On its own, so that it outlives the connection that started it.
    # shellcheck disable=SC2016 # that shell's variables, not this one's
    setsid nohup bash -c 'state=$1; shift; "$@"; echo $? >"$state/code.new"
      mv "$state/code.new" "$state/code"' attn "$state" "$@" >"$state/log" 2>&1 </dev/null &
    echo $! >"$state/pid"
  fi
  tail -n +1 -F --pid="$(cat "$state/pid")" "$state/log" 2>/dev/null || true
  local code
  code=$(cat "$state/code" 2>/dev/null || echo 1)
  echo "attn-exit $(hostname) $code"
  exit "$code"
}

cd "$HOME"
case ${1:-} in
  install) shift && install "$@" ;;
  run) shift && cd "$home" && run "$@" ;;
  *) echo "error: expected install or run, got '${1:-}'" >&2 && exit 2 ;;
esac
