#!/usr/bin/env bash
# A training on Cloud TPU VMs: one slice, as many workers as it has, through gcloud's queued resources.
#
#   bash launch/tpu_vm.sh create --spot                      # asks for the slice and waits until it is there
#   bash launch/tpu_vm.sh setup                              # copies the code (HEAD) to all workers, installs
#   bash launch/tpu_vm.sh run -- --config=configs/software.py --workdir=gs://BUCKET/runs/software
#   bash launch/tpu_vm.sh status                             # of the slice, and of the run on each worker
#   bash launch/tpu_vm.sh logs --lines=100
#   bash launch/tpu_vm.sh resume --spot -- --config=configs/software.py --workdir=gs://BUCKET/runs/software
#   bash launch/tpu_vm.sh stop                               # the run saves and ends; the slice stays
#   bash launch/tpu_vm.sh delete                             # the slice, and what is on its disks
#
# resume does all of it and watches until the run has ended: it creates the slice, sets up and runs
# where that is still to be done, and after a preemption again, with the same command, which continues
# from the checkpoint on gs://. It may be stopped (Ctrl-C) and started again; the run goes on meanwhile.
#
# Options (all actions take all of them):
#   --name=rearec            of the slice, and of the request for it
#   --type=v5litepod-8       accelerator type: v4-8, v5litepod-256, v5p-8, v6e-8, ...
#   --zone=us-central1-a     one that has this type: cloud.google.com/tpu/docs/regions-zones
#   --project=ID             default: gcloud's own
#   --runtime=VERSION        default: the base image of the type
#   --spot                   cheaper, and may be preempted at any moment
#   --copy=PATH              setup also copies this file to the working directory of the run; repeatable
#   --repository=URL         setup clones this instead of copying the local HEAD
#   --revision=main          what of it
#   --lines=50               of the log (of worker 0; --worker=N for another)
#   --poll=60                seconds between two looks at the slice
#   --retries=5              failures on one slice before resume gives up; a preemption is none
#   --dry_run                print the commands that would run, and run none
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
name=rearec type=v5litepod-8 zone=us-central1-a project='' runtime='' spot='' repository='' revision=main
lines=50 worker=0 poll=60 retries=5 dry_run=''
copies=() arguments=()
remote=rearec_jax # directory on the workers, in their home

say() { printf '%s\n' "$*" >&2; }
fail() {
  say "tpu_vm.sh: $*"
  exit 2
}
usage() { sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

main() {
  local action=${1:-}
  case $action in
    create | setup | run | status | logs | resume | stop | delete) shift && read_options "$@" ;;
    '' | -h | --help) usage && exit ;;
    *) fail "unknown action \"$action\"; it is one of create, setup, run, status, logs, resume, stop, delete." ;;
  esac
  [[ -n $dry_run ]] || command -v gcloud >/dev/null ||
    fail "gcloud is not installed (cloud.google.com/sdk/docs/install); --dry_run needs none."
  "$action"
}

read_options() {
  local option value
  while (($#)); do
    option=$1 value=${1#*=}
    shift
    case $option in
      --name=* | --type=* | --zone=* | --project=* | --runtime=* | --repository=* | --revision=* | --lines=* | --worker=* | --poll=* | --retries=*)
        [[ -n $value ]] || fail "$option has no value."
        option=${option%%=*}
        printf -v "${option#--}" %s "$value"
        ;;
      --copy=*)
        [[ -f $value ]] || fail "$option names no file."
        copies+=("$value")
        ;;
      --spot | --dry_run) printf -v "${option#--}" yes ;;
      --help) usage && exit ;;
      --) arguments=("$@") && break ;;
      *) fail "unknown option $option; bash launch/tpu_vm.sh --help lists them; those of the run come after --." ;;
    esac
  done
  for value in "$lines" "$poll" "$retries"; do
    [[ $value =~ ^[0-9]+$ ]] || fail "--lines, --poll and --retries are whole numbers, not \"$value\"."
  done
}

# ---- the actions

create() {
  request
  wait_until_active
}

# `|| return`, here and below: resume calls these where set -e does not hold.
setup() {
  if [[ -n $repository ]]; then
    on_workers all "$(clone_command)" || return
  else
    copy_code || return
  fi
  local path
  for path in ${copies[@]+"${copies[@]}"}; do
    gcloud_tpu tpu-vm scp "$path" "$name:$remote/" --worker=all || return
  done
  on_workers all "bash $remote/launch/tpu_worker.sh setup"
}

run() {
  need_arguments
  find_each_other
  on_workers all "$(worker_command start "${arguments[@]}")"
}

status() {
  local now=ACTIVE
  if [[ -n $dry_run ]]; then describe; else now=$(state); fi
  say "$name: $now"
  [[ $now != ACTIVE ]] || on_workers all "$(probe_command)"
}

logs() { on_workers "$worker" "$(worker_command logs "$lines")"; }
stop() { on_workers all "$(worker_command stop)"; }
delete() { gcloud_tpu queued-resources delete "$name" --force; }

resume() {
  need_arguments
  find_each_other
  [[ " ${arguments[*]}" == *" --workdir=gs://"* ]] ||
    fail "resume needs --workdir=gs://BUCKET/...: the disks of a preempted slice are lost."
  [[ -z $dry_run ]] || {
    show_preemption
    return
  }
  local now failures=0
  while :; do
    now=$(state)
    [[ $now == ACTIVE ]] || say "$name: $now"
    case $now in
      ACTIVE) advance ;;
      NONE) attempt request ;;
      SUSPENDED) failures=0 && attempt delete ;; # preempted
      FAILED) count_failure && attempt delete ;;
    esac
    sleep "$poll"
  done
}

# ---- their parts

# One step of the run on an active slice. Exits when the run is done, or cannot be.
advance() {
  local found
  if ! found=$(on_workers all "$(probe_command)" 2>&1); then
    say "$name: the workers do not answer" # perhaps it is being preempted
    return
  fi
  found=$(sed -n 's/.*rearec_jax: //p' <<<"$found" | sort -u | tr '\n' ';')
  case $found in
    *another*) fail "another run is going on on $name; bash launch/tpu_vm.sh stop --name=$name ends it." ;;
    *running*) ;;
    *absent*) say "$name: setting up" && attempt setup_and_run ;;
    *ready*) say "$name: starting the run" && attempt run ;;
    'ended 0;') say "$name: the run is done; bash launch/tpu_vm.sh delete --name=$name ends the costs." && exit ;;
    *'ended 2;'*) logs >&2 && fail "the run ended with a mistake, shown above." ;;
    *ended*) say "$name: ${found%;}; starting the run again" && count_failure && attempt run ;;
    *) say "$name: no worker says how its run is" ;;
  esac
}

setup_and_run() { setup && run; }

# The slice may vanish at any moment: what fails is tried again.
attempt() {
  "$@" && return
  say "$name: $1 has failed"
  count_failure
}

count_failure() {
  failures=$((failures + 1))
  ((failures <= retries)) ||
    fail "more than $retries failures on one slice; bash launch/tpu_vm.sh logs --name=$name shows the last."
}

request() {
  local image
  image=${runtime:-$(base_image)} || exit
  gcloud_tpu queued-resources create "$name" --node-id="$name" \
    --accelerator-type="$type" --runtime-version="$image" ${spot:+--spot}
}

base_image() {
  case $type in
    v2-* | v3-* | v4-*) echo tpu-ubuntu2204-base ;;
    v5litepod-*) echo v2-alpha-tpuv5-lite ;;
    v5p-*) echo v2-alpha-tpuv5 ;;
    v6e-*) echo v2-alpha-tpuv6e ;;
    *) fail "--type=$type is unknown here; name its image with --runtime=VERSION." ;;
  esac
}

wait_until_active() {
  local now before=''
  if [[ -n $dry_run ]]; then
    describe
    return
  fi
  while now=$(state) && [[ $now != ACTIVE ]]; do
    case $now in NONE | FAILED | SUSPENDED) fail "$name is $now; bash launch/tpu_vm.sh delete --name=$name, then create again." ;; esac
    [[ $now == "$before" ]] || say "$name: $now"
    before=$now
    sleep "$poll"
  done
  say "$name: ACTIVE"
}

# The state of the queued resource; NONE where there is none, UNKNOWN where gcloud cannot say.
state() {
  local answer
  if answer=$(describe 2>&1); then
    echo "${answer##*$'\n'}"
  else
    case $answer in
      *NOT_FOUND* | *"not found"*) echo NONE ;;
      *) say "$answer" && echo UNKNOWN ;;
    esac
  fi
}

describe() { gcloud_tpu queued-resources describe "$name" --format='value(state.state)'; }

copy_code() {
  local archive=${TMPDIR:-/tmp}/rearec_jax-$$.tar.gz
  [[ -z $(git -C "$root" status --porcelain --untracked-files=no) ]] ||
    say "Note: changes that are not committed are not copied."
  execute git -C "$root" archive --format=tar.gz --output="$archive" HEAD || return
  gcloud_tpu tpu-vm scp "$archive" "$name:rearec_jax.tar.gz" --worker=all || return
  execute rm -f "$archive"
  # All but .venv is replaced: files that the code no longer has must not stay.
  on_workers all "mkdir -p $remote && find $remote -mindepth 1 -maxdepth 1 ! -name .venv -exec rm -rf {} + && tar -xzf rearec_jax.tar.gz -C $remote"
}

clone_command() {
  printf 'test -d %s || git clone -q %q %s; cd %s && git fetch -q origin %q && git checkout -q FETCH_HEAD' \
    "$remote" "$repository" "$remote" "$remote" "$revision"
}

worker_command() { printf '%q ' bash "$remote/launch/tpu_worker.sh" "$@"; }

# Before set-up there is no script to ask.
probe_command() {
  printf 'if test -f %s; then %s; else echo rearec_jax: absent; fi' \
    "$remote/launch/tpu_worker.sh" "$(worker_command probe ${arguments[@]+"${arguments[@]}"})"
}

on_workers() { gcloud_tpu tpu-vm ssh "$name" --worker="$1" --command="$2"; }

gcloud_tpu() { execute gcloud compute tpus "$@" --zone="$zone" ${project:+"--project=$project"} --quiet; }

# Runs a command, or shows it, quoted so that it can be pasted.
execute() {
  if [[ -n $dry_run ]]; then
    printf '%q ' "$@" | sed 's/ $//'
    echo
  else
    "$@"
  fi
}

# The workers' processes do, through the TPU's metadata.
find_each_other() {
  [[ " ${arguments[*]}" == *" --coordinator="* ]] || arguments+=(--coordinator=auto)
}

need_arguments() {
  ((${#arguments[@]})) || fail "the options of the run come after --, such as -- --config=configs/yelp.py --workdir=gs://BUCKET/runs/yelp."
}

show_preemption() {
  echo "# how the slice is"
  describe
  echo "# where it is SUSPENDED: away with it, and a new one"
  delete
  request
  describe
  echo "# once it is ACTIVE"
  setup
  run
  echo "# until all workers say \"ended 0\""
  on_workers all "$(probe_command)"
}

main "$@"
