"""Opens an exported checkpoint as the reference program does, computes with it, and saves what it found in each of PyTorch's formats."""
import sys

import torch

folder, classes = sys.argv[1:]
checkpoint = torch.load(f"{folder}/exported.pth.tar", weights_only=True)
inputs = torch.load(f"{folder}/inputs.pth.tar", weights_only=True)
found = {"keys": list(checkpoint), "epoch": checkpoint["epoch"]}
networks = {}
for key in ("ebm_net", "flow_net"):
    networks[key] = {name.removeprefix("module."): value for name, value in checkpoint[key].items()}
if classes != "":
    sys.path.insert(0, classes)
    import torch_coopflow as peer

    cfg = dict(shape=(1, 8, 8), scales=[(0, 2), (2, 1)], channels=16, blocks=1, dequant_blocks=1, components=4, drop=0.0)
    flow, energy = peer.Flow(cfg), peer.Energy(1, 8, 8)
    flow.load_state_dict(networks["flow_net"])
    energy.load_state_dict(networks["ebm_net"])
    for module in flow.modules():
        if isinstance(module, peer.ActNorm):
            module.ready = True
    flow.eval()
    with torch.no_grad():
        z, log_det = flow(inputs["data"], eps=inputs["eps"])
        found |= {"z": z, "energy": energy(inputs["data"])}
for name, optimizer in (("ebm", "ebm_optimizer"), ("flow", "flow_optimizer")):
    # Adam takes the state as its own.
    state = checkpoint[optimizer]
    count = sum(len(group["params"]) for group in state["param_groups"])
    groups = [{"params": [torch.nn.Parameter(state["state"][i]["exp_avg"].clone()) for i in group["params"]]} for group in state["param_groups"]]
    adam = torch.optim.Adam(groups)
    adam.load_state_dict(state)
    found[f"{name}_steps"] = int(adam.state_dict()["state"][count - 1]["step"])
torch.save(found, f"{folder}/found.zip.pth")
torch.save(found, f"{folder}/found.legacy.pth", _use_new_zipfile_serialization=False)
net = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3))
mixed = {"net": torch.nn.DataParallel(net).state_dict(), "half": torch.arange(6).half().reshape(2, 3).t(), "bfloat": torch.arange(3).bfloat16()}
for protocol in (2, 3, 4, 5):
    torch.save(mixed, f"{folder}/mixed.{protocol}.pth", pickle_protocol=protocol)
