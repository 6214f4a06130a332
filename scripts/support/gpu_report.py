#!/usr/bin/env python3
"""What scripts/gpu_check.sh found, as numbers.

  gpu_report.py compare CPU.log GPU.log   two learning runs, --json: close at first, alike at last; exit code 1 when not
  gpu_report.py report FOLDER FILE COMMIT   FILE (JSON) of the steps' logs in FOLDER: versions, steps, times, ratios to PyTorch, which targets are met"""
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


def versions(folder):
    """Of the machine: asked for once, kept beside the logs."""
    kept = os.path.join(folder, "versions.json")
    if not os.path.exists(kept):
        torch = output("python3", "-c", "import torch; print(torch.__version__, torch.version.cuda, torch.backends.cudnn.version())").split()
        gpu = output("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")
        with open(kept, "w", encoding="utf-8") as file:
            json.dump({"gpu": gpu, "torch": dict(zip(("version", "cuda", "cudnn"), torch))}, file)
    return json.load(open(kept, encoding="utf-8"))


RECOMPUTE, CONCURRENT = "-recompute", "-concurrent"  # the first is how the paper's networks are meant to need little memory

# Times faster than PyTorch eager, by configuration and batch.
ITERATION_TARGETS = {"digits-64": 10, "paper-28": 3, "paper-128": 2}


def measured(label, ours, eager, compiled):
    """What a benchmark says, and of each target whether it is met; None where something is missing."""
    times = lambda theirs: {key: round(theirs[key] / ours[key], 2) for key in ours if key.endswith("_s") and theirs.get(key) and ours[key]}
    out = {"coopflow": ours, "pytorch": eager, "pytorch_compiled": compiled}
    if not ours:
        return out
    config, recomputes = "-".join(label.split("-")[:2]), label.endswith(RECOMPUTE)
    share = ours["langevin_gflop"] / ours["langevin_s"] / ours["peak_gemm_gflops"] if ours.get("peak_gemm_gflops") and ours.get("langevin_s") else None
    out["langevin_share_of_matrix_peak"] = share and round(share, 3)
    targets = {} if share is None or not config.startswith("paper") else {"langevin at 60 % of the matrix peak": share >= 0.6}
    if eager:
        out["times_faster_than_eager"] = faster = times(eager)
        sampling = ours["images_per_s_sampling"] / eager["images_per_s_sampling"]
        memory = ours["peak_device_mb"] / eager["peak_device_mb"] if ours.get("peak_device_mb") and eager.get("peak_device_mb") else None
        out.update(times_faster_sampling=round(sampling, 2), memory_of_pytorch=memory and round(memory, 3))
        if config in ITERATION_TARGETS:
            targets[f"iteration {ITERATION_TARGETS[config]} times faster"] = faster.get("iteration_s", 0) >= ITERATION_TARGETS[config]
        if config == "paper-28":
            targets["sampling 5 times faster"] = sampling >= 5
        if memory is not None and (recomputes or not config.startswith("paper")):
            targets["half of PyTorch's memory"] = memory <= 0.5
    if compiled:
        out["times_faster_than_compiled"] = times(compiled)
    out["targets"] = targets
    return out


def report(folder, path, commit):
    log = lambda name: os.path.join(folder, name)
    steps = [dict(zip(("name", "exit_code", "seconds"), line.rstrip("\n").split("\t"))) for line in open(log("steps.tsv"), encoding="utf-8")]
    for s in steps:
        s.update(passed=s["exit_code"] == "0", seconds=round(float(s["seconds"]), 1))
        if not s["passed"]:
            s["why"] = "".join(open(log(s["name"] + ".log"), encoding="utf-8", errors="replace").readlines()[-5:])[-600:]
    bench = {}
    for name in (s["name"] for s in steps if s["name"].startswith("bench-")):
        label = name[len("bench-"):]
        theirs = label.removesuffix(RECOMPUTE).removesuffix(CONCURRENT)
        bench[label] = measured(label, last_json(log(f"bench-{label}.json")), last_json(log(f"peer-{theirs}.log")), last_json(log(f"peer-compiled-{theirs}.log")))
    machine = open(log("machine.log"), encoding="utf-8").read().splitlines() if os.path.exists(log("machine.log")) else []
    result = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": commit,
        **versions(folder),
        "coopflow_machine": next((line for line in machine if "multiprocessors" in line), None),
        "steps": steps,
        "passed": all(s["passed"] for s in steps if not s["name"].startswith("peer-")),
        "gemm": last_json(log("gemm.log")),
        "gemm_bf16": last_json(log("gemm-bf16.log")),
        "bench": bench,
    }
    with open(path + ".partial", "w", encoding="utf-8") as file:
        json.dump(result, file, indent=2)
    os.replace(path + ".partial", path)
    for s in steps:
        print(f"{'ok    ' if s['passed'] else 'FAILED'} {s['name']} ({s['seconds']} s)")
    for label, b in bench.items():
        print(f"{label}: {b.get('times_faster_than_eager')}")
        for target, met in b.get("targets", {}).items():
            print(f"  {'met    ' if met else 'NOT MET'} {target}")
    print(path)
    return 0


if __name__ == "__main__":
    known = {"compare": (compare, 2), "report": (report, 3)}
    run, count = known.get(sys.argv[1] if len(sys.argv) > 1 else "", (None, 0))
    if run is None or len(sys.argv) != 2 + count:
        sys.exit(__doc__)
    sys.exit(run(*sys.argv[2:]))
