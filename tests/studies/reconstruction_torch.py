"""One search step of reconstruction in PyTorch, with the energy network of the PyTorch program; prints JSON lines with the seconds of each.

python reconstruction_torch.py PEER THREADS IMAGES T STEP_SIZE ITERATIONS, one round for each line on stdin."""
import importlib.util, json, sys, time
import torch

peer, threads, images, steps, step_size, iterations = sys.argv[1:]
torch.set_num_threads(int(threads))
spec = importlib.util.spec_from_file_location("peer", peer)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
torch.manual_seed(0)
channels, side, _ = module.CONFIGS["digits"]["shape"]
energy = module.Energy(channels, module.CONFIGS["digits"]["width"], side).eval()
for parameter in energy.parameters():
    parameter.requires_grad_(False)
target = torch.rand(int(images), channels, side, side) * 2 - 1
start = torch.rand_like(target) * 2 - 1


def search_step(start):
    """Differentiates through the whole chain, as the authors' program does."""
    start = start.detach().requires_grad_(True)
    x = start
    for _ in range(int(steps)):
        slope, = torch.autograd.grad(energy(x).sum(), x, create_graph=True)
        x = x + 0.5 * float(step_size) ** 2 * slope
    loss = (target - x).square().sum()
    gradient, = torch.autograd.grad(loss, start)
    return (start.detach() - 0.05 * gradient).clamp(-1, 1)


for _ in sys.stdin:
    seconds = []
    for _ in range(int(iterations)):
        begin = time.perf_counter()
        start = search_step(start)
        seconds.append(time.perf_counter() - begin)
    print(json.dumps(seconds), flush=True)
