#!/usr/bin/env bash
# Sees a run through on a TPU that may be taken away: makes it, runs, and again until it is done.
#
#   tpu_setup/babysit.sh NAME --type v5e-16 --zone us-west4-a --spot --run first \
#     --share 10.0.0.2:/runs -- train verses-transformer --train.examples 900000
#
#   the flags of create.sh, setup_vm.sh and run.sh, and
#   --tries N       give up after so many TPUs (20)
#   --keep          leave the TPU when the run is done, instead of deleting it
#   --dry-run       prints the commands of one round
#
# Exit code: that of the run. Only a run that was told to stop (42), or whose TPU is gone, is begun
# again, and it goes on from its last checkpoint; one that fails stays failed.

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
here=$(dirname "${BASH_SOURCE[0]}")

create=() setup=() name_of_run="" tries=20 keep=false arguments=()
while [ $# -gt 0 ]; do
  common_flag "$@"
  if [ "$taken" -gt 0 ]; then shift "$taken" && continue; fi
  case $1 in
    --help | -h) usage "$0" && exit 0 ;;
    --type | --software) value "$1" $# && create+=("$1" "$2") && shift 2 ;;
    --spot) create+=("$1") && shift ;;
    --share) value "$1" $# && setup+=("$1" "$2") && shift 2 ;;
    --run) value "$1" $# && name_of_run=$2 && shift 2 ;;
    --tries) value "$1" $# && tries=$2 && shift 2 ;;
    --keep) keep=true && shift ;;
    --) shift && arguments=("$@") && break ;;
    -*) die "unknown flag $1" ;;
    *) [ -z "$name" ] || die "unexpected argument '$1'" && name=$1 && shift ;;
  esac
done
check_target
check_run "$name_of_run"
[ ${#arguments[@]} -gt 0 ] || die "no arguments after --; expected such as: -- train CONFIG"
[[ $tries =~ ^[1-9][0-9]*$ ]] || die "--tries is '$tries'; expected a number of at least 1"

target=("$name" --zone "$zone")
[ ${#project[@]} -eq 0 ] || target+=(--project "${project[0]#--project=}")
if "$dry_run"; then target+=(--dry-run); fi

state() { # ACTIVE, another state, or GONE
  tpus queued-resources describe "$name" "--format=value(state.state)" 2>/dev/null || echo GONE
}

round() { # one TPU: exits as the run does
  local found=GONE
  if ! "$dry_run"; then found=$(state); fi
  if [ "$found" != ACTIVE ]; then
    [ "$found" = GONE ] || "$here/delete.sh" "${target[@]}" || true
    "$here/create.sh" "${target[@]}" "${create[@]}" || return "$PREEMPTED"
  fi
  "$here/setup_vm.sh" "${target[@]}" "${setup[@]}" || return
  "$here/run.sh" "${target[@]}" --run "$name_of_run" -- "${arguments[@]}"
}

for ((try = 1; try <= tries; try++)); do
  code=0
  round || code=$?
  if "$dry_run"; then exit "$code"; fi
  # A create that failed was a matter of capacity; a TPU that is gone took the run with it.
  if [ "$code" -ne 0 ] && [ "$code" -ne "$PREEMPTED" ] && [ "$(state)" = ACTIVE ]; then
    exit "$code"
  fi
  if [ "$code" -eq 0 ]; then
    "$keep" || "$here/delete.sh" "${target[@]}"
    exit 0
  fi
  printf '%s: stopped (%s), try %s of %s\n' "$name" "$code" "$try" "$tries" >&2
  sleep "$((${ATTN_POLL_SECONDS:-30} * (try < 10 ? try : 10)))"
done
printf 'error: %s: gave up after %s tries\n' "$name" "$tries" >&2
exit "$PREEMPTED"
