#!/usr/bin/env python3
"""What scripts/gpu_check.sh found, as numbers.

  gpu_report.py compare CPU.log GPU.log   two learning runs, --json: close at first, alike at last; exit code 1 when not
  gpu_report.py report FOLDER COMMIT      FOLDER/gpu.json: versions, steps, times, ratios to PyTorch"""
import json, os, subprocess, sys, time

METRICS = ("flowNll", "fProposal", "fRevised", "fData", "change")
FIRST, FIRST_TOLERANCE = 5, 1e-2   # rounding grows with every iteration: the first ones must agree
LAST, LAST_TOLERANCE = 50, 0.1     # later only means do


def events(path):
    """The JSON lines among a log's lines."""
    for line in open(path, encoding="utf-8"):
        if line.startswith("{"):
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                pass


def compare(cpu_log, gpu_log):
    cpu, gpu = ([e["metrics"] for e in events(path) if e.get("type") == "iteration"] for path in (cpu_log, gpu_log))
    if not cpu or len(cpu) != len(gpu):
        print(f"expected as many iterations of both, found {len(cpu)} and {len(gpu)}")
        return 1
    ok = True
    mean = lambda run, name: sum(m[name] for m in run[-LAST:]) / len(run[-LAST:])
    for name in METRICS:
        first = max(abs(a[name] - b[name]) / (1 + abs(a[name])) for a, b in zip(cpu[:FIRST], gpu[:FIRST]))
        a, b = mean(cpu, name), mean(gpu, name)
        last = abs(a - b) / (1 + abs(a))
        good = first <= FIRST_TOLERANCE and last <= LAST_TOLERANCE  # false for NaN
        ok = ok and good
        print(f"{name}: first {FIRST} differ by {first:.2g}; mean of the last {LAST}: {a:.6g} and {b:.6g}{'' if good else '  TOO FAR'}")
    return 0 if ok else 1


def output(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=120).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def last_json(path):
    found = list(events(path)) if os.path.exists(path) else []
    return found[-1] if found else None


def report(folder, commit):
    log = lambda name: os.path.join(folder, name)
    steps = [dict(zip(("name", "exit_code", "seconds"), line.rstrip("\n").split("\t"))) for line in open(log("steps.tsv"), encoding="utf-8")]
    steps = [{"name": s["name"], "passed": s["exit_code"] == "0", "seconds": round(float(s["seconds"]), 1)} for s in steps]
    bench = {}
    for name in (s["name"] for s in steps if s["name"].startswith("bench-")):
        label = name[len("bench-"):]
        ours, eager, compiled = last_json(log(f"bench-{label}.json")), last_json(log(f"peer-{label}.log")), last_json(log(f"peer-compiled-{label}.log"))
        ratios = {key: round(eager[key] / ours[key], 2) for key in ours if key.endswith("_s") and eager.get(key) and ours[key]} if ours and eager else None
        bench[label] = {"coopflow": ours, "pytorch": eager, "pytorch_compiled": compiled, "times_faster_than_eager": ratios}
    versions = output("python3", "-c", "import torch; print(torch.__version__, torch.version.cuda, torch.backends.cudnn.version())").split()
    machine = open(log("machine.log"), encoding="utf-8").read().splitlines() if os.path.exists(log("machine.log")) else []
    result = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": commit,
        "gpu": output("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"),
        "coopflow_machine": next((line for line in machine if "multiprocessors" in line), None),
        "torch": dict(zip(("version", "cuda", "cudnn"), versions)),
        "steps": steps,
        "passed": all(s["passed"] for s in steps),
        "gemm": last_json(log("gemm.log")),
        "bench": bench,
    }
    with open(log("gpu.json"), "w", encoding="utf-8") as file:
        json.dump(result, file, indent=2)
    for s in steps:
        print(f"{'ok    ' if s['passed'] else 'FAILED'} {s['name']} ({s['seconds']} s)")
    for label, b in bench.items():
        print(f"{label}: times faster than PyTorch: {b['times_faster_than_eager']}")
    print(log("gpu.json"))
    return 0


if __name__ == "__main__":
    known = {"compare": compare, "report": report}
    if len(sys.argv) != 4 or sys.argv[1] not in known:
        sys.exit(__doc__)
    sys.exit(known[sys.argv[1]](*sys.argv[2:]))
