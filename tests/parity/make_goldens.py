"""Makes the tensors in `golden/` with PyTorch alone: what the reference program does not have.

    python tests/parity/make_goldens.py    # needs torch and safetensors

Everything is computed in float64 from float32 values and stored as float32. Each file is a case of `deno task parity`:
`coupling_affine`, `coupling_additive`, `mala`, `magnitude`, `accumulate`.
"""
import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

OUT = Path(__file__).parent / "golden"


def draw(generator, *shape, scale=1.0):
    """Normal draws that are float32 exactly."""
    return (scale * torch.randn(*shape, generator=generator, dtype=torch.float64)).float().double()


def save(name, tensors, **settings):
    data = {key: value.detach().float().contiguous() for key, value in tensors.items()}
    save_file(data, OUT / f"{name}.safetensors", metadata={key: json.dumps(value) for key, value in settings.items()})


# ---- couplings


def weight_norm(p, name):
    v = p[f"{name}.weight_v"]
    return p[f"{name}.weight_g"] * v / v.flatten(1).norm(dim=1).reshape(-1, *[1] * (v.dim() - 1))


def conv(p, name, x):
    w = weight_norm(p, name)
    return F.conv2d(x, w, p[f"{name}.bias"], padding=w.shape[-1] // 2)


def concat_elu(x):
    return F.elu(torch.cat([x, -x], 1))


def gated_conv(p, name, x):
    h = conv(p, f"{name}.conv.conv", concat_elu(x))
    a, b = conv(p, f"{name}.gate.conv", concat_elu(h)).chunk(2, 1)
    return a * torch.sigmoid(b)


def layer_norm(p, name, x):
    y = F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2], p[f"{name}.weight"], p[f"{name}.bias"], 1e-5)
    return y.permute(0, 3, 1, 2)


def coupling_network(p, blocks, x):
    h = conv(p, "nn.in_conv.conv", x)
    for j in range(blocks):
        name = f"nn.mid_convs.{j}"
        h = layer_norm(p, f"{name}.norm_1", h + gated_conv(p, f"{name}.conv", h))
    return conv(p, "nn.out_conv.conv", h)


def coupling_parameters(generator, kind, half, width, blocks):
    p = {}

    def add(name, o, i, k):
        p[f"{name}.weight_v"] = draw(generator, o, i, k, k, scale=0.3)
        p[f"{name}.weight_g"] = (1 + 0.2 * draw(generator, o, 1, 1, 1)).float().double()
        p[f"{name}.bias"] = draw(generator, o, scale=0.3)

    add("nn.in_conv.conv", width, half, 3)
    for j in range(blocks):
        add(f"nn.mid_convs.{j}.conv.conv.conv", width, 2 * width, 3)
        add(f"nn.mid_convs.{j}.conv.gate.conv", 2 * width, 2 * width, 1)
        p[f"nn.mid_convs.{j}.norm_1.weight"] = (1 + 0.2 * draw(generator, width)).float().double()
        p[f"nn.mid_convs.{j}.norm_1.bias"] = draw(generator, width, scale=0.2)
    add("nn.out_conv.conv", half * (2 if kind == "affine" else 1), width, 3)
    if kind == "affine":
        p["nn.rescale.weight_v"] = (1 + 0.2 * draw(generator, half, 1, 1)).float().double()
        p["nn.rescale.weight_g"] = (1 + 0.2 * draw(generator, half, 1, 1)).float().double()
    return p


def coupling(kind, seed):
    generator = torch.Generator().manual_seed(seed)
    half, width, blocks, n = 3, 8, 2, 2
    p = coupling_parameters(generator, kind, half, width, blocks)
    change, fixed = draw(generator, n, half, 6, 3), draw(generator, n, half, 6, 3)
    leaves = {f"param.{name}": value for name, value in p.items()} | {"in.change": change, "in.id": fixed}
    for value in leaves.values():
        value.requires_grad_()
    raw = coupling_network(p, blocks, fixed)
    if kind == "affine":
        a, b = raw.chunk(2, 1)
        g, v = p["nn.rescale.weight_g"], p["nn.rescale.weight_v"]
        a = g * v / v.abs() * torch.tanh(a)
        y, log_det = (change + b) * torch.exp(a), a.flatten(1).sum(1)
        x, back = y * torch.exp(-a) - b, -log_det
    else:
        y, log_det = change + raw, torch.zeros(n, dtype=torch.float64)
        x, back = y - raw, log_det
    cot = {"cot.y": draw(generator, *y.shape), "cot.log_det": draw(generator, n)}
    total = (y * cot["cot.y"]).sum() + (log_det * cot["cot.log_det"]).sum()
    grads = torch.autograd.grad(total, list(leaves.values()))
    gradients = {f"grad.{name}": value for name, value in zip(leaves, grads)}
    save(f"coupling_{kind}",
         leaves | {"out.y": y, "out.log_det": log_det, "inverse.x": x, "inverse.log_det": back} | cot | gradients,
         channels=width, blocks=blocks)


# ---- energies


def energy(p, x):
    """The residual energy network of 8×8 images: one block."""
    swish = F.silu
    h = swish(F.conv2d(x, p["f.0.weight"], p["f.0.bias"], padding=1))
    c = lambda name, v: F.conv2d(v, p[f"f.2.{name}.weight"], p[f"f.2.{name}.bias"], padding=1)
    h = F.avg_pool2d(swish(c("conv2", swish(c("conv1", h)))) + swish(c("res", h)), 2)
    return F.conv2d(h, p["f.3.weight"], p["f.3.bias"]).flatten(1).sum(1)


def energy_parameters(generator, width=2, scale=1.0):
    p = {}

    def add(name, o, i, k):
        p[f"{name}.weight"] = draw(generator, o, i, k, k, scale=scale / math.sqrt(i * k * k))
        p[f"{name}.bias"] = draw(generator, o, scale=0.1)

    add("f.0", width, 1, 3)
    add("f.2.conv1", width, width, 3)
    add("f.2.conv2", 2 * width, width, 3)
    add("f.2.res", 2 * width, width, 3)
    add("f.3", 100, 2 * width, 4)
    return p


def with_prefix(prefix, p):
    return {f"{prefix}{name}": value for name, value in p.items()}


def mala(seed):
    """MALA with a step size for each step, a clamped drift, and reflection at the ends of the range."""
    generator = torch.Generator().manual_seed(seed)
    p = energy_parameters(generator, scale=1.5)
    steps, n, clamp, low, high = 10, 3, 0.04, -1.0, 1.0
    deltas = torch.linspace(0.4, 0.15, steps, dtype=torch.float64).float().double()
    x = torch.tanh(draw(generator, n, 1, 8, 8)).float().double()
    start, noise = x.clone(), draw(generator, steps, n, 1, 8, 8)
    accept = torch.rand(steps, n, generator=generator, dtype=torch.float64).float().double()

    def at(x):
        x = x.detach().requires_grad_()
        f = energy(p, x)
        return f.detach(), torch.autograd.grad(f.sum(), x)[0]

    drift = lambda d, slope: (d * d / 2 * slope).clamp(-clamp, clamp)
    out, energies, accepted = {}, [], []
    f, slope = at(x)
    for t in range(steps):
        d = deltas[t]
        y = x + drift(d, slope) + d * noise[t]
        # Unfold: the mirror images of the range continue f, so that the way back has a Gaussian density too.
        times = torch.floor((y - low) / (high - low))
        odd = times.remainder(2) == 1
        part = (y - low) - times * (high - low)
        folded = torch.where(odd, high - part, low + part)
        to_f, to_slope = at(folded)
        back = x - y - torch.where(odd, -1.0, 1.0) * drift(d, to_slope)
        ratio = to_f - f - (back**2).flatten(1).sum(1) / (2 * d * d) + (noise[t] ** 2).flatten(1).sum(1) / 2
        margin = (torch.log(accept[t]) - ratio).abs().min()
        assert margin > 1e-3, "an acceptance that float32 might decide otherwise: take another seed"
        ok = torch.log(accept[t]) < ratio
        energies.append(f)
        accepted.append(ok.double())
        x = torch.where(ok[:, None, None, None], folded, x)
        f, slope = torch.where(ok, to_f, f), torch.where(ok[:, None, None, None], to_slope, slope)
        if t + 1 in (1, 2, steps):
            out[f"x{t + 1}"] = x
    share = torch.stack(accepted).mean().item()
    assert 0.2 < share < 0.9, f"{share} of the moves were accepted: expected both kinds"
    save("mala",
         with_prefix("param.", p) | {"in.x": start, "noise": noise, "accept": accept, "step_size": deltas,
                                     "energies": torch.stack(energies), "accepted": torch.stack(accepted)} | out,
         move_clamp=clamp, range=[low, high])


def ebm_loss(p, revised, data, alpha):
    revised, data = energy(p, revised), energy(p, data)
    return revised, data, alpha * ((revised**2).mean() + (data**2).mean())


def magnitude(seed):
    generator = torch.Generator().manual_seed(seed)
    p, alpha = energy_parameters(generator), 0.05
    x, data = [torch.tanh(draw(generator, 4, 1, 8, 8)).float().double() for _ in range(2)]
    for value in p.values():
        value.requires_grad_()
    revised, real, penalty = ebm_loss(p, x, data, alpha)
    loss = revised.mean() - real.mean() + penalty
    gradients = torch.autograd.grad(loss, list(p.values()))
    norm = torch.stack([(g**2).sum() for g in gradients]).sum().sqrt()
    save("magnitude",
         with_prefix("param.", p) | {"in.x": x, "in.data": data}
         | {"out.ebm_loss": (revised.mean() - real.mean())[None], "out.ebm_magnitude": penalty[None],
            "out.ebm_norm": norm[None]}
         | {f"grad.{name}": g for name, g in zip(p, gradients)},
         magnitude=alpha)


def accumulate(seed):
    """Two Adam steps of the EBM, each along the mean gradient of three micro-batches, clipped by norm."""
    generator = torch.Generator().manual_seed(seed)
    p = energy_parameters(generator)
    steps, parts, n, alpha, lr, clip = 2, 3, 2, 0.01, 0.01, 2.0
    tensors = with_prefix("before.", {name: value.clone() for name, value in p.items()})
    for value in p.values():
        value.requires_grad_()
    optimizer = torch.optim.Adam(p.values(), lr=lr, betas=(0.5, 0.5))
    for i in range(steps):
        optimizer.zero_grad()
        losses = []
        for k in range(parts):
            x, data = [torch.tanh(draw(generator, n, 1, 8, 8)).float().double() for _ in range(2)]
            tensors |= {f"{i}.{k}.revised": x, f"{i}.{k}.data": data}
            revised, real, penalty = ebm_loss(p, x, data, alpha)
            ((revised.mean() - real.mean() + penalty) / parts).backward()
            losses.append((revised.mean() - real.mean()).detach())
        norm = torch.nn.utils.clip_grad_norm_(p.values(), clip)
        assert norm > clip, "expected a gradient that is clipped"
        optimizer.step()
        tensors |= {f"{i}.ebm_loss": torch.stack(losses), f"{i}.ebm_norm": norm[None].detach()}
    save("accumulate", tensors | with_prefix("after.", p), steps=steps, micro_batches=parts, batch=n, magnitude=alpha, lr=lr,
         clip=clip)


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    coupling("affine", 1)
    coupling("additive", 2)
    mala(5)
    magnitude(4)
    accumulate(3)
