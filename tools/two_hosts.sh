#!/usr/bin/env bash
# Two hosts on one machine: two network namespaces joined by a cable, in each of them torchrun.
# They train together, one is killed, and the other goes on alone from the last checkpoint; then the
# killed one comes back and they finish together. Linux, as root, with iproute2; nothing is left.
# Usage: tools/two_hosts.sh [FOLDER]    (PYTHON: the interpreter that has msdkit)
set -euo pipefail

PYTHON=${PYTHON:-python3}
FOLDER=$(realpath -m "${1:-runs/two_hosts}")
A=msdkit-a B=msdkit-b                  # the hosts
ADDRESS_A=10.77.0.1 ADDRESS_B=10.77.0.2
TOGETHER=60 ALONE=130                  # the steps at which one host is killed, and comes back
# A host that comes back must find the meeting point anew: torchrun keeps the old one otherwise
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
export MSDKIT_CACHE=$FOLDER/cache OMP_NUM_THREADS=1

say() { printf '%(%H:%M:%S)T == %s\n' -1 "$*" | tee -a "$FOLDER/log.txt"; }

clean() {
    for host in $A $B; do
        ip netns pids $host 2>/dev/null | xargs -r kill -9 2>/dev/null || true
        ip netns delete $host 2>/dev/null || true
    done
}

build_network() {
    for host in $A $B; do
        ip netns add $host
        ip -n $host link set lo up
    done
    ip link add cable netns $A type veth peer name cable netns $B
    ip -n $A address add $ADDRESS_A/24 dev cable
    ip -n $B address add $ADDRESS_B/24 dev cable
    for host in $A $B; do ip -n $host link set cable up; done
}

write_data() {
    "$PYTHON" - "$FOLDER" <<'PYTHON'
import json, random, sys
from pathlib import Path

folder, draw = Path(sys.argv[1]), random.Random(0)
for split, count in (("train", 4000), ("val", 500), ("test", 500)):
    rows = []
    for i in range(count):
        word, shade = draw.randrange(3), draw.randrange(3)
        numbers = [[shade + draw.gauss(0, 1) for _ in range(8)] for _ in range(draw.randint(3, 9))]
        noise = " ".join(f"w{draw.randrange(50)}" for _ in range(draw.randint(3, 12)))
        label = "abc"[word if draw.random() < 0.8 else shade]
        rows.append({"id": f"{split}{i}", "text": f"c{word} {noise}", "rows": numbers, "label": label})
    (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
data = {"name": "jsonl", "folder": str(folder), "label": "label",
        "modalities": {"text": "text", "image": {"column": "rows", "type": "array"}}}
model = {"name": "fusion_transformer", "layers": 1, "heads": 4}
train = {"batch_size": 64, "lr": 2e-3, "save_every": 20, "log_every": 10, "evaluate_every": 1000}
teacher = {"dataset": data, "student": {**model, "hidden": 64}, "run_dir": str(folder / "teacher"),
           "train": {**train, "epochs": 4, "modality_dropout": 0.1}}
student = {"dataset": data, "student": {**model, "hidden": 32}, "run_dir": str(folder / "student"),
           "teacher": {"run": str(folder / "teacher")}, "distill": [{"name": "kl", "temperature": 2.0}],
           "weighting": {"name": "saliency"}, "train": {**train, "max_steps": 220}}
for name, config in (("teacher", teacher), ("student", student)):
    (folder / f"{name}.yaml").write_text(json.dumps(config, indent=1))
PYTHON
}

# start HOST ADDRESS: torchrun there; they meet at the first host, which is told that it is the one
start() {
    local meeting="last_call_timeout=5,keep_alive_interval=1,keep_alive_max_attempt=3"
    [ "$1" = $A ] && meeting+=",is_host=true" || meeting+=",is_host=false"
    ip netns exec "$1" env GLOO_SOCKET_IFNAME=cable "$PYTHON" -m torch.distributed.run \
        --nnodes=1:2 --nproc-per-node=1 --max-restarts=5 --rdzv-id=two-hosts --local-addr="$2" \
        --rdzv-backend=c10d --rdzv-endpoint=$ADDRESS_A:29400 --rdzv-conf="$meeting" \
        -m msdkit run "$FOLDER/student.yaml" >>"$FOLDER/$1.txt" 2>&1 &
}

last_step() { tail -n 1 "$FOLDER/student/metrics.jsonl" 2>/dev/null | sed 's/[^0-9]*\([0-9]*\).*/\1/'; }

wait_for_step() {
    while [ "$(last_step || true)0" -lt "${1}0" ]; do
        sleep 0.2
        kill -0 "$2" || { say "the first host ended"; exit 1; }
    done
}

clean
rm -rf "$FOLDER"
mkdir -p "$FOLDER"
trap clean EXIT
build_network
write_data
say "a teacher, on one host alone"
"$PYTHON" -m msdkit run "$FOLDER/teacher.yaml" >"$FOLDER/teacher.txt" 2>&1
say "two hosts: $A at $ADDRESS_A, $B at $ADDRESS_B"
start $A $ADDRESS_A
first=$!
start $B $ADDRESS_B
second=$!
wait_for_step $TOGETHER $first
say "step $(last_step): $B is killed"
ip netns pids $B | xargs kill -9
wait $second 2>/dev/null || true
wait_for_step $ALONE $first
say "step $(last_step): $B comes back"
start $B $ADDRESS_B
wait $first
say "$A has finished"
grep -hE '^[0-9]+ process|^error|^note' "$FOLDER/$A.txt" | cut -c -150 | tee -a "$FOLDER/log.txt"
"$PYTHON" - "$FOLDER" <<'PYTHON' | tee -a "$FOLDER/log.txt"
import json, sys
from pathlib import Path

folder = Path(sys.argv[1])
rows = [json.loads(line) for line in (folder / "student/metrics.jsonl").read_text().splitlines()]
steps = [row["step"] for row in rows if row["split"] == "train"]
assert steps == sorted(set(steps)) and steps[-1] == 220, steps
losses = {row["step"]: round(row["loss"], 3) for row in rows if row["split"] == "train"}
print("loss by step:", losses)
results = json.loads((folder / "student/results.json").read_text())
print("accuracy on test:", round(results["splits"]["test"]["student"]["multimodal"]["accuracy"], 3))
PYTHON
