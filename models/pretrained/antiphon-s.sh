#!/bin/sh
# How antiphon-s, its latents, its planner and the LSTM to compare it with are trained and exported:
#   sh models/pretrained/antiphon-s.sh CORPUS OUT
# About seventeen hours on two CPU cores. Started again after a kill, it goes on from the last checkpoints.
set -eu
corpus=$1 out=$2
export OMP_WAIT_POLICY=passive
train() { # NAME SIZE STEPS LR SEED [--init RUN] [--bars RUN]
    name=$1 size=$2 steps=$3 lr=$4 seed=$5
    shift 5
    python -m models.train --corpus "$corpus" --cache "$out/cache" --out "$out/$name" --size "$size" --steps "$steps" --lr "$lr" \
        --seed "$seed" --optimiser muon --dropout 0.1 "$@"
}
train s1 S 3400 2e-3 1
train s2 S 800 1.2e-3 2 --init "$out/s1"
train s3 S 440 8e-4 3 --init "$out/s2"
train lstm-s LSTM 1700 2e-3 1
python -m models.train_bars --corpus "$corpus" --cache "$out/cache" --out "$out/bars" --steps 10000
python -m models.train_planner --corpus "$corpus" --cache "$out/cache" --bars "$out/bars" --out "$out/planner" --steps 4000
train s4 S 720 1e-3 4 --init "$out/s3" --bars "$out/bars"
train s5 S 500 1e-3 5 --init "$out/s4" --bars "$out/bars"
train s6 S 1300 1e-3 11 --init "$out/s5" --bars "$out/bars"
train s7 S 1200 1e-3 12 --init "$out/s6" --bars "$out/bars"
train s8 S 2100 1e-3 13 --init "$out/s7" --bars "$out/bars"
for steps in 3600 6600 7900; do
    [ -d "$out/s9-$steps" ] && continue
    train s9 S "$steps" 1e-3 21 --init "$out/s8" --bars "$out/bars" --dropout 0
    rm -rf "$out/s9-part" && cp -r "$out/s9" "$out/s9-part" && mv "$out/s9-part" "$out/s9-$steps"
done
python -m models.average "$out/s9-3600" "$out/s9-6600" "$out/s9-7900" -o "$out/antiphon-s"
python -m export "$out/antiphon-s" -o "$out/antiphon-s.onnx" --weights int8 --data "$corpus" --cache "$out/cache"
python -m export "$out/lstm-s" -o "$out/lstm-s.onnx" --weights int8 --data "$corpus" --cache "$out/cache"
python -m export.latents --bars "$out/bars" --planner "$out/planner" --decoder "$out/antiphon-s" -o "$out"
python -m models.directions --corpus "$corpus" --cache "$out/cache" --bars "$out/bars" -o "$out/directions.json"
python -m models.checkpoint "$out/antiphon-s" "$out/shipped/antiphon-s"
