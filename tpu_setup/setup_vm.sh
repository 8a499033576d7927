#!/usr/bin/env bash
# Brings the code and its environment onto all workers of a TPU; again does only what is new.
#
#   tpu_setup/setup_vm.sh NAME --zone us-west4-a [--share 10.0.0.2:/runs]
#
#   --zone ZONE     of the TPU
#   --project ID    else gcloud's own
#   --share NFS     HOST:/PATH of a file share for runs, mounted as ~/attn-runs. Several workers
#                   need one: they write one checkpoint together
#   --dry-run       prints the commands

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

share=""
while [ $# -gt 0 ]; do
  common_flag "$@"
  if [ "$taken" -gt 0 ]; then shift "$taken" && continue; fi
  case $1 in
    --help | -h) usage "$0" && exit 0 ;;
    --share) value "$1" $# && share=$2 && shift 2 ;;
    -*) die "unknown flag $1" ;;
    *) [ -z "$name" ] || die "unexpected argument '$1'" && name=$1 && shift ;;
  esac
done
check_target
[ -z "$share" ] || [[ $share =~ ^[A-Za-z0-9.-]+:/[A-Za-z0-9._/-]+$ ]] ||
  die "--share is '$share'; expected HOST:/PATH"

tree=attn.tar.gz
if ! "$dry_run"; then
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  tree=$scratch/attn.tar.gz
fi
# What is committed, so that a run can be made again from its commit.
run git -C "$root" archive --format=tar.gz --output="$tree" HEAD
tpus tpu-vm scp "$tree" "$root/tpu_setup/on_worker.sh" "$name:" --worker=all
tpus tpu-vm ssh "$name" --worker=all --command="bash on_worker.sh install $share"
