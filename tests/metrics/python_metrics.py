"""Distances of two feature sets in a safetensors file by pytorch-fid's and torch-fidelity's functions, as a line of JSON; and statistics in pytorch-fid's
way, written to and read from .npz files: python_metrics.py FEATURES.safetensors STATISTICS.npz OUT.npz"""

import json
import sys

import numpy as np
import torch
from pytorch_fid.fid_score import calculate_frechet_distance
from safetensors.numpy import load_file
from torch_fidelity.metric_fid import fid_statistics_to_metric
from torch_fidelity.metric_kid import kernel_mmd
from torch_fidelity.metric_prc import prc_features_to_metric

features, statistics, out = sys.argv[1:]
sets = {name: values.astype(np.float64) for name, values in load_file(features).items()}
moments = {name: {"mu": np.mean(x, axis=0), "sigma": np.cov(x, rowvar=False)} for name, x in sets.items()}


def pytorch_fid(a, b):
    return float(calculate_frechet_distance(a["mu"], a["sigma"], b["mu"], b["sigma"]))


found = {}
for name in ("b", "low_rank"):
    a, b = moments["a"], moments[name]
    manifold = prc_features_to_metric(torch.from_numpy(sets["a"]), torch.from_numpy(sets[name]), prc_neighborhood=3, verbose=False)
    found[name] = {
        "pytorch_fid": pytorch_fid(a, b),
        "torch_fidelity_fid": fid_statistics_to_metric(a, b, False)["frechet_inception_distance"],
        "torch_fidelity_mmd": float(kernel_mmd(sets["a"][: len(sets[name])], sets[name][: len(sets["a"])])),
        "precision": manifold["precision"],
        "recall": manifold["recall"],
    }
with np.load(statistics) as given:
    found["statistics"] = pytorch_fid(moments["a"], {"mu": given["mu"], "sigma": given["sigma"]})
np.savez_compressed(out, mu=moments["b"]["mu"], sigma=moments["b"]["sigma"])
print(json.dumps(found))
