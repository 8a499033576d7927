# What the scripts for Cloud TPU share. Sourced, never run.
# shellcheck shell=bash

set -euo pipefail

# shellcheck disable=SC2034 # whoever sources this uses it
PREEMPTED=42 # what a run exits with when it was told to stop and has saved everything

dry_run=false
project=()
zone=""
name=""

die() { # MESSAGE: says what is wrong, and how to learn what is right
  printf 'error: %s (--help lists the arguments)\n' "$1" >&2
  exit 2
}

run() { # COMMAND...: what --dry-run prints is what would be run
  if "$dry_run"; then
    printf '%q ' "$@" | sed 's/ $//'
    printf '\n'
  else
    "$@"
  fi
}

tpus() { # ARGUMENTS...: of `gcloud compute tpus`
  run gcloud compute tpus "$@" --zone="$zone" "${project[@]}"
}

usage() { # SCRIPT: the comment at its head
  sed -n '2,/^$/ { s/^# \{0,1\}//p }' "$1"
}

value() { # FLAG COUNT: refuses a flag at the end of the line
  [ "$2" -ge 2 ] || die "$1 needs a value"
}

# The flags that every script has; sets `taken` to how many words it was, 0 if none of them.
# shellcheck disable=SC2034 # its callers read it
common_flag() {
  taken=0
  case $1 in
    --dry-run) dry_run=true taken=1 ;;
    --zone) value "$1" $# && zone=$2 taken=2 ;;
    --project) value "$1" $# && project=(--project="$2") taken=2 ;;
  esac
}

check_name() { # WHAT VALUE: Google's rule for names of resources
  [[ $2 =~ ^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$ ]] ||
    die "$1 is '$2'; expected small letters, digits and dashes, a letter first"
}

check_target() { # a TPU needs a name and a zone
  check_name NAME "$name"
  [[ $zone =~ ^[a-z]+-[a-z]+[0-9]+-[a-z]$ ]] ||
    die "--zone is '$zone'; expected one such as us-central2-b"
}

check_run() { # VALUE: a folder's name, and a word of a command line there
  [[ $1 =~ ^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$ ]] ||
    die "--run is '$1'; expected letters, digits, dots, dashes and underscores"
}
