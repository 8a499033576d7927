#!/usr/bin/env bash
# Gives a TPU back, with its queued resource: what is left running is paid for.
#
#   tpu_setup/delete.sh NAME --zone us-west4-a
#
#   --zone ZONE     of the TPU
#   --project ID    else gcloud's own
#   --dry-run       prints the commands

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

while [ $# -gt 0 ]; do
  common_flag "$@"
  if [ "$taken" -gt 0 ]; then shift "$taken" && continue; fi
  case $1 in
    --help | -h) usage "$0" && exit 0 ;;
    -*) die "unknown flag $1" ;;
    *) [ -z "$name" ] || die "unexpected argument '$1'" && name=$1 && shift ;;
  esac
done
check_target
tpus queued-resources delete "$name" --force --quiet
