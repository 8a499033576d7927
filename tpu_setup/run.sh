#!/usr/bin/env bash
# Trains on all workers of a TPU, follows what they say, and exits as they do.
#
#   tpu_setup/run.sh NAME --zone us-west4-a --run first -- train verses-transformer --train.examples 900000
#
#   --zone ZONE     of the TPU
#   --project ID    else gcloud's own
#   --run RUN       name of the run: its folder is ~/attn-runs/RUN. The same name goes on with it
#   --dry-run       prints the commands
#   -- ARGUMENTS    of `python -m experiments`; --folder is added
#
# Where the connection breaks, the run goes on; the same command follows it again.
# Exit code: 0 done, 42 told to stop with everything saved, else that of the first worker to fail.

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

name_of_run="" arguments=()
while [ $# -gt 0 ]; do
  common_flag "$@"
  if [ "$taken" -gt 0 ]; then shift "$taken" && continue; fi
  case $1 in
    --help | -h) usage "$0" && exit 0 ;;
    --run) value "$1" $# && name_of_run=$2 && shift 2 ;;
    --) shift && arguments=("$@") && break ;;
    -*) die "unknown flag $1" ;;
    *) [ -z "$name" ] || die "unexpected argument '$1'" && name=$1 && shift ;;
  esac
done
check_target
check_run "$name_of_run"
[ ${#arguments[@]} -gt 0 ] || die "no arguments after --; expected such as: -- train CONFIG"

# Every word is quoted for the shell over there.
command="bash attn/tpu_setup/on_worker.sh run $name_of_run .venv/bin/python -m experiments"
command+=$(printf ' %q' "${arguments[@]}")
command+=" --folder \"\$HOME/attn-runs/$name_of_run\""

if "$dry_run"; then
  tpus tpu-vm ssh "$name" --worker=all --command="$command"
  exit 0
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
code=0
tpus tpu-vm ssh "$name" --worker=all --command="$command" 2>&1 | tee "$log" || code=$?

# gcloud has one exit code for all workers: theirs are in what they say last.
failed="" stopped=false
while read -r _ _ of_worker; do
  case $of_worker in
    0) ;;
    "$PREEMPTED") stopped=true ;;
    *) failed=${failed:-$of_worker} ;;
  esac
done < <(grep -a '^attn-exit ' "$log" | tr -d '\r' || true)
[ -z "$failed" ] || exit "$failed"
if "$stopped"; then exit "$PREEMPTED"; fi
exit "$code"
