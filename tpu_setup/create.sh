#!/usr/bin/env bash
# Asks for a TPU as a queued resource, and waits until it is there.
#
#   tpu_setup/create.sh NAME --type v5e-16 --zone us-west4-a [--spot]
#
#   --type TYPE     v4-8 ..., v5e-4 ..., v5p-8 ..., v6e-4 ...: generation and size as Google counts
#                   them (cores for v4 and v5p, chips for v5e and v6e)
#   --zone ZONE     one that has them
#   --project ID    else gcloud's own
#   --spot          cheaper, may be taken away at any time: see babysit.sh
#   --software S    runtime version, else the one for the generation
#   --no-wait       leaves once it is asked for
#   --dry-run       prints the commands

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

type="" spot=() software="" wait=true
while [ $# -gt 0 ]; do
  common_flag "$@"
  if [ "$taken" -gt 0 ]; then shift "$taken" && continue; fi
  case $1 in
    --help | -h) usage "$0" && exit 0 ;;
    --type) value "$1" $# && type=$2 && shift 2 ;;
    --software) value "$1" $# && software=$2 && shift 2 ;;
    --spot) spot=(--spot) && shift ;;
    --no-wait) wait=false && shift ;;
    -*) die "unknown flag $1" ;;
    *) [ -z "$name" ] || die "unexpected argument '$1'" && name=$1 && shift ;;
  esac
done
check_target

case $type in
  v4-*) accelerator=$type default=tpu-ubuntu2204-base ;;
  v5e-* | v5litepod-*) accelerator=v5litepod-${type#*-} default=v2-alpha-tpuv5-lite ;;
  v5p-*) accelerator=$type default=v2-alpha-tpuv5 ;;
  v6e-*) accelerator=$type default=v2-alpha-tpuv6e ;;
  tpu7x* | v7x*) die "--type $type: tpu7x is to be had through GKE alone: see jobset.yaml" ;;
  *) die "--type is '$type'; expected v4-N, v5e-N, v5p-N or v6e-N" ;;
esac
[[ ${type#*-} =~ ^[1-9][0-9]*$ ]] || die "--type is '$type'; expected a size after the dash"

tpus queued-resources create "$name" --node-id="$name" --accelerator-type="$accelerator" \
  --runtime-version="${software:-$default}" "${spot[@]}"
"$wait" || exit 0
if "$dry_run"; then
  tpus queued-resources describe "$name" "--format=value(state.state)"
  exit 0
fi
while true; do
  state=$(tpus queued-resources describe "$name" "--format=value(state.state)")
  printf '%s: %s\n' "$name" "$state" >&2
  case $state in
    ACTIVE) exit 0 ;;
    FAILED | SUSPENDING | SUSPENDED | DELETING) exit 1 ;;
  esac
  sleep "${ATTN_POLL_SECONDS:-30}"
done
