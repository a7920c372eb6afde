"""Training of the backbone on the teacher's vectors, beginning with the static word vectors.

Two processes with one thread each compute half a batch and share their gradients. On two cores that
is a third faster than one process with two threads.
"""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.distributed
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from starter.batches import Ids, batches
from starter.loss import distance
from starter.network import Network

# A batch has texts of three lengths, so that the loss also compares texts of different lengths.
TOKENS, GROUPS = 2_816, 3
RATE = 1e-3
WARMUP = 100
LONG_RUN = 500
# Share of texts with the query prompt.
QUERIES = 0.3
Watch = Callable[[Network, int], None]


def backbone(
    network: Network,
    ids: Ids,
    targets: NDArray[np.float16],
    steps: int,
    *,
    workers: int = 2,
    watch: Watch | None = None,
) -> None:
    """Train all weights.

    Args:
        network: from static.start; changed in place.
        ids: of lines and passages.
        targets: the teacher's vectors of the same texts in the common basis.
        steps: each of `workers` batches, of `GROUPS` times `TOKENS` tokens.
        workers: processes.
        watch: called in the first of them with the network, every 500 steps.

    """
    network.share_memory()
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    torch.multiprocessing.spawn(
        work, (workers, address, network, ids, targets, steps, watch), workers
    )


def work(
    rank: int,
    workers: int,
    address: str,
    shared: Network,
    ids: Ids,
    targets: NDArray[np.float16],
    steps: int,
    watch: Watch | None,
) -> None:
    """Train a copy in one process; the first writes its weights back."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=workers)
    network = Network(shared.shape)
    network.load_state_dict(shared.state_dict())
    # Compiling takes a minute, which only a long run saves again.
    compiled = torch.compile(network, dynamic=True) if steps >= LONG_RUN else network
    parameters = list(network.parameters())
    optimizer = torch.optim.AdamW(
        parameters, lr=RATE, betas=(0.9, 0.98), weight_decay=0.0, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, steps))
    random = np.random.default_rng(rank)
    begun, losses = time.monotonic(), []
    groups = endless(ids, random)
    for step in range(1, steps + 1):
        batch = [next(groups) for _ in range(GROUPS)]
        made = []
        for chosen in batch:
            tokens, ends = ids.pad(chosen, random.random(len(chosen)) < QUERIES)
            with torch.autocast("cpu", torch.bfloat16):
                made.append(compiled(tokens, ends))
        expected = torch.from_numpy(targets[np.concatenate(batch)].astype(np.float32))
        loss = distance(torch.cat(made), functional.normalize(expected, dim=-1))
        optimizer.zero_grad()
        loss.backward()
        average(parameters, workers)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if rank == 0 and step % 100 == 0:
            seconds, mean = time.monotonic() - begun, np.mean(losses[-100:])
            print(f"step {step} of {steps}, loss {mean:.4f}, {seconds:.0f} s", flush=True)
        if rank == 0 and watch is not None and step % 500 == 0:
            watch(network, step)
    if rank == 0:
        shared.load_state_dict(network.state_dict())
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def average(parameters: list[torch.nn.Parameter], workers: int) -> None:
    """Replace gradients by their mean over all processes."""
    if workers == 1:
        return
    gradients: list[Tensor] = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients]) / workers
    torch.distributed.all_reduce(flat)
    start = 0
    for gradient in gradients:
        gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
        start += gradient.numel()


def endless(ids: Ids, random: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Yield batches of texts of similar length, in endless passes over all texts."""
    while True:
        yield from batches(ids.lengths, TOKENS, random)


def rate(step: int, steps: int) -> float:
    """Linear warm-up, then a cosine down to 1 %."""
    warm = min(WARMUP, steps // 10)
    if step < warm:
        return (step + 1) / warm
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
