#!/usr/bin/env bash
# Trains every run of docs/results.md again, compares them and prints the tables. It skips what is done and
# continues what was interrupted: the same command goes on. In all about 41 hours of one CPU core.
#
#   bash launch/results.sh DATA ROOT               # files in DATA, work directories below ROOT
#   bash launch/results.sh DATA ROOT --dry_run     # only shows the commands of what is not done
#   bash launch/results.sh DATA ROOT --config.train.epochs=1 --config.model.width=32    # a trial of the script
#   SECTIONS="beauty sports" bash launch/results.sh DATA ROOT
#
# DATA: Beauty, Toys_and_Games, Sports_and_Outdoors and Yelp as .txt (S3-Rec's sequences) and .tsv (item_id, title),
# amazon2018_game.tsv.gz, amazon2018_game_titles.tsv, ml1m.tsv.gz, ml-100k.inter. What is not there is left out.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=setup.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

[[ $# -ge 2 ]] || fail "usage: bash launch/results.sh DATA ROOT [--dry_run]."
data=$1 out=$2
shift 2
failed=0
cosine=(--config.train.schedule=cosine --config.train.learning_rate=2e-3)
rows41=--config.train.rows_multiple=1 # as the older runs were trained
declare -A interactions=([beauty]=Beauty.txt [toys]=Toys_and_Games.txt [sports]=Sports_and_Outdoors.txt [yelp_s3]=Yelp.txt
  [amazon2018_game]=amazon2018_game.tsv.gz [ml1m]=ml1m.tsv.gz [ml100k]=ml-100k.inter)
declare -A titles=([beauty]=Beauty.tsv [toys]=Toys_and_Games.tsv [sports]=Sports_and_Outdoors.tsv [yelp_s3]=Yelp.tsv
  [amazon2018_game]=amazon2018_game_titles.tsv)

# attempt CODE COMMAND ...: goes on where its exit code is at most CODE
attempt() {
  local code=0
  "${@:2}" || code=$?
  [[ $code -le $1 ]] || exit "$code"
  [[ $code == 0 ]] || failed=$((failed + 1))
}

# grid NAME CONFIG FLAG ...: its cells lie in ROOT/NAME/CONFIG; cells that fail do not keep the others
grid() {
  local name=$1 config=$2
  shift 2
  attempt 1 "$python" -m rearec_jax.studies.grid --root="$out/$name" --configs="$root/configs/$config.py" \
    --data="$config=$data/${interactions[$config]}" "$@" "${extra[@]}"
}

# sasrec NAME CONFIG METHODS SEEDS EPOCHS FLAG ...: with the recipe of the comparisons
sasrec() {
  grid "$1" "$2" --backbones=sasrec --methods="$3" --seeds="$4" --config.train.epochs="$5" "${cosine[@]}" "${@:6}"
}

# filtered NAME CONFIG METHODS SEEDS EPOCHS FLAG ...: with layer=filtered, ranked without what the users have had
filtered() {
  sasrec "$1" "$2" "$3" "$4" "$5" --config.model.layer=filtered --config.eval.exclude_seen=True \
    --config.train.patience=0 "${@:6}"
}

# texts NAME CONFIG EPOCHS FLAG ...: with titles
texts() {
  there "$data/${titles[$2]}" || return 0
  grid "$1" "$2" --text="$2=$data/${titles[$2]}" --config.train.epochs="$3" "${cosine[@]}" "${@:4}"
}

# texts_and_ids NAME CONFIG METHOD EPOCHS FLAG ...: titles and a free vector an item, ranked both ways
texts_and_ids() {
  local both=(--config.model.item_ids=True --config.eval.by_step=False "${@:5}")
  texts "$1" "$2" "$4" --backbones=unisrec --methods="$3" "${both[@]}"
  unseen "$1" "$2" "unisrec-$3" 0
}

# unseen NAME CONFIG MODELS SEEDS: the same cells, ranked without what the users have had
unseen() {
  local model seed cell
  [[ -z $dry ]] || return 0
  for model in ${3//,/ }; do
    for seed in ${4//,/ }; do
      cell=$out/$1/$2/$model-seed$seed
      [[ -e $cell/summary.json && ! -e $cell/summary.exclude_seen=True.json ]] || continue
      attempt 2 "$python" -m rearec_jax.main --mode=evaluate --workdir="$cell" --config.eval.exclude_seen=True
    done
  done
}

# compare NAME CONFIG/NAME/METHOD ...: significance, the first as the baseline, with all seeds that there are
compare() {
  local name=$1 runs=() run cells config method
  shift
  [[ -z $dry ]] || return 0
  for run in "$@"; do
    IFS=/ read -r cells config method <<<"$run"
    runs+=("$out/$cells/$config/sasrec-$method-seed"?)
  done
  attempt 2 "$python" -m rearec_jax.main --mode=compare --workdir="$out/compare/$name" \
    --runs="$(IFS=, && echo "${runs[*]}")"
}

beauty() {
  local wide=(--config.model.width=128) dropout=(--config.model.embedding_dropout=.5)
  sasrec beauty-8 beauty base,erl,prl 0,1,2 8 "${wide[@]}"
  sasrec beauty-12 beauty base,prl 0,1,2 12 "${wide[@]}"
  sasrec beauty-16 beauty base 0 16 "${wide[@]}"
  compare beauty-equal-epochs beauty-8/beauty/{base,erl,prl}
  compare beauty-equal-time beauty-12/beauty/base beauty-8/beauty/prl
  compare beauty-both-12 beauty-12/beauty/{base,prl}
  unseen beauty-12 beauty sasrec-base,sasrec-prl 0,1,2
  filtered beauty-filtered beauty base 0 12
  filtered beauty-filtered-cosine beauty base 0 12 --config.model.similarity=cosine
  filtered beauty-filtered-dropout beauty base 0,1,2 30 "${dropout[@]}"
  filtered beauty-filtered-128 beauty base 0 20 "${dropout[@]}" "${wide[@]}"
  filtered beauty-filtered-prl beauty prl,mancar 0 20 "${dropout[@]}"
  filtered beauty-filtered-steps beauty prl 0,1,2 20 "${dropout[@]}" --config.model.step_dropout=0
  filtered beauty-filtered-steps beauty plr,recrec 0 20 "${dropout[@]}" --config.model.step_dropout=0
  compare beauty-filtered beauty-filtered-dropout/beauty/base beauty-filtered-steps/beauty/prl
}

toys() {
  sasrec toys-12 toys base,erl,prl 0,1,2 12 --config.model.width=128
  compare toys toys-12/toys/{base,erl,prl}
  unseen toys-12 toys sasrec-base,sasrec-erl,sasrec-prl 0,1,2
}

sports() {
  local wide=(--config.model.width=128)
  sasrec sports-12 sports base,erl,prl 0,1,2 12 "${wide[@]}"
  sasrec sports-8 sports base 0 8 "${wide[@]}"
  sasrec sports-dropout sports base,prl 0,1,2 12 "${wide[@]}" --config.model.embedding_dropout=.5
  grid sports-64 sports --backbones=sasrec --methods=base
  compare sports sports-12/sports/{base,erl,prl}
  compare sports-dropout sports-dropout/sports/{base,prl} sports-12/sports/prl
  compare sports-smaller sports-64/sports/base sports-12/sports/prl
  unseen sports-12 sports sasrec-base,sasrec-erl,sasrec-prl 0,1,2
  filtered sports-filtered sports base 0 20 --config.model.embedding_dropout=.5
  filtered sports-filtered-128 sports base 0 12 --config.model.embedding_dropout=.5 "${wide[@]}"
  texts_and_ids sports-text sports base 12
  texts_and_ids sports-text sports prl 12
  texts_and_ids sports-text-24 sports base 24
  texts_and_ids sports-text-dropout sports base 24 --config.model.embedding_dropout=.5
  texts_and_ids sports-text-128 sports base 14 "${wide[@]}"
}

yelp() {
  local dropout=(--config.model.embedding_dropout=.5)
  sasrec yelp-12 yelp_s3 base,erl,prl 0,1,2 12
  sasrec yelp-24 yelp_s3 base 0 24
  sasrec yelp-128 yelp_s3 base 0 12 --config.model.width=128
  sasrec yelp-dropout yelp_s3 base 0,1,2 24 "${dropout[@]}"
  sasrec yelp-dropout-128 yelp_s3 base 0 24 "${dropout[@]}" --config.model.width=128
  sasrec yelp-dropout-12 yelp_s3 prl 0 12 "${dropout[@]}"
  compare yelp yelp-12/yelp_s3/{base,erl,prl}
  compare yelp-dropout yelp-dropout/yelp_s3/base yelp-12/yelp_s3/prl
}

ml1m() {
  sasrec ml1m-12 ml1m base,erl,prl 0 12
  sasrec ml1m-24 ml1m base,erl 0,1,2 24
  sasrec ml1m-48 ml1m base 0 48
  filtered ml1m-filtered-24 ml1m base,erl 0 24
  filtered ml1m-filtered-45 ml1m base 0 45
  compare ml1m-equal-epochs ml1m-12/ml1m/{base,erl,prl}
  compare ml1m-more-epochs ml1m-24/ml1m/base ml1m-12/ml1m/{erl,prl}
  compare ml1m-both-24 ml1m-24/ml1m/{base,erl}
  compare ml1m-equal-time ml1m-48/ml1m/base ml1m-24/ml1m/erl
  compare ml1m-filtered ml1m-filtered-45/ml1m/base ml1m-filtered-24/ml1m/erl
}

longer() {
  local config
  present beauty && grid longer beauty --backbones=sasrec "$rows41"
  for config in sports yelp_s3 toys amazon2018_game ml1m ml100k; do
    present "$config" && grid longer "$config" --backbones=sasrec --methods=erl "$rows41"
  done
  return 0
}

backbones() {
  local config
  for config in beauty toys; do
    present "$config" && texts backbones "$config" 12 "$rows41"
  done
  present amazon2018_game && texts backbones amazon2018_game 4 --config.model.width=64 --config.eval.by_step=False
  present yelp_s3 && texts backbones yelp_s3 5 --config.model.width=64 --config.eval.by_step=False
  return 0
}

plain() {
  present beauty || return 0
  local width
  for width in 64 128; do sasrec "plain-$width" beauty base 0 12 "$rows41" --config.model.width="$width"; done
  sasrec plain-cosine beauty base 0 12 "$rows41" --config.model.similarity=cosine --config.method.temperature=.07
  sasrec plain-dropout beauty base 0 12 "$rows41" --config.model.width=128 --config.model.embedding_dropout=.5
  sasrec plain-256 beauty base 0 12 "$rows41" --config.model.width=256 --config.train.learning_rate=1e-3
  unseen plain-256 beauty sasrec-base 0
  texts_and_ids plain-text beauty base 12 "$rows41"
}

# λ of erl, τ and α of prl, by validation
search() {
  present beauty || return 0
  tune erl 20 --space=method.kl_weight=0,0.001,0.005,0.01,0.05,0.1
  tune prl 40 --space=method.temperature=0.5,1,2,5 --space=method.temperature_decay=1,1.2,1.5,2
  sasrec search-1 beauty prl 0,1,2 12 --config.model.width=64
  sasrec search-5 beauty prl 0,1,2 12 --config.model.width=64 --config.method.temperature=.5 --config.method.temperature_decay=1.5
  compare search search-{1,5}/beauty/prl
  sasrec search-128 beauty prl 0 12 --config.model.width=128 --config.method.temperature=.5 --config.method.temperature_decay=2
}

# tune METHOD MINUTES FLAG ...: in ROOT/search-METHOD
tune() {
  [[ -z $dry ]] || return 0
  attempt 2 "$python" -m rearec_jax.main --mode=tune --workdir="$out/search-$1" --config="$root/configs/beauty.py" \
    --config.data.path="$data/${interactions[beauty]}" --config.model.width=64 --config.train.epochs=12 \
    --config.method.name="$1" --minutes="$2" "${cosine[@]}" "${@:3}" "${extra[@]}"
}

# present CONFIG: are its interactions there?
present() { there "$data/${interactions[$1]}"; }

there() {
  [[ -e $1 ]] && return 0
  say "Left out: $1 is not there."
  return 1
}

extra=("$@")
dry=
[[ " $* " != *" --dry_run "* ]] || dry=yes
# shellcheck disable=SC2119
set_up
for section in ${SECTIONS:-beauty toys sports yelp ml1m search longer backbones plain}; do
  say "== $section"
  case $section in
    beauty | toys | sports | ml1m) if present "$section"; then "$section"; fi ;;
    yelp) if present yelp_s3; then yelp; fi ;;
    search | longer | backbones | plain) "$section" ;;
    *) fail "SECTIONS: '$section' is none of beauty toys sports yelp ml1m search longer backbones plain." ;;
  esac
done
[[ $failed == 0 ]] || fail "$failed of the commands failed; the same command tries them again."
