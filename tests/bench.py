"""How fast is ``fit``? Ratios against a bare loop and a DataLoader loop, all in one run.

    make bench

Each loop trains the same network on the same data for the same steps and measures the validation
and test parts once at the end. The loops take turns, and the best of several rounds counts, so
that other work on the machine disturbs all of them alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import tricks_lib as tl

STEPS, BATCH, LR, ROUNDS = 600, 64, 0.05, 9


def by_fit(model: nn.Module, data: tl.Data) -> None:
    tl.fit(model, data, lr=LR, num_steps=STEPS, record_every=STEPS, device=data.x_train.device)


def by_bare_loop(model: nn.Module, data: tl.Data) -> None:
    """What a careful person writes by hand for data that are tensors in memory."""
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    step = 0
    while step < STEPS:
        order = torch.randperm(len(data.x_train), device=data.x_train.device)
        for index in order.split(BATCH):
            loss = nn.functional.cross_entropy(model(data.x_train[index]), data.y_train[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            if step == STEPS:
                break
    measure(model, data)


def by_data_loader(model: nn.Module, data: tl.Data) -> None:
    """What most tutorials write."""
    where = data.x_train.device
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    pairs = TensorDataset(data.x_train.cpu(), data.y_train.cpu())
    loader = DataLoader(pairs, batch_size=BATCH, shuffle=True)
    step = 0
    while step < STEPS:
        for x, y in loader:
            loss = nn.functional.cross_entropy(model(x.to(where)), y.to(where))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            if step == STEPS:
                break
    measure(model, data)


def measure(model: nn.Module, data: tl.Data) -> None:
    for x, y in ((data.x_val, data.y_val), (data.x_test, data.y_test)):
        tl.evaluate(model, x, y)


def seconds(loop: Callable[[nn.Module, tl.Data], None], make: Callable, data: tl.Data) -> float:
    torch.manual_seed(0)
    model = make().to(data.x_train.device)
    if data.x_train.is_cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    loop(model, data)
    if data.x_train.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    where = tl.device()
    # A multiple of the batch, so that no loop has a smaller last batch than the others.
    data = tl.glyphs(seed=0, n_train=25 * BATCH).to(where)
    loops = {"tl.fit": by_fit, "bare loop": by_bare_loop, "DataLoader": by_data_loader}
    print(f"{STEPS} steps of {BATCH} on {where}, best of {ROUNDS} rounds; ratio to the bare loop")
    with tl.cpu_threads():
        for name, make in {"MLP": lambda: tl.mlp([768, 128, 10]), "CNN": tl.cnn}.items():
            best = dict.fromkeys(loops, float("inf"))
            for _ in range(ROUNDS):
                for label, loop in loops.items():
                    best[label] = min(best[label], seconds(loop, make, data))
            for label, found in best.items():
                print(f"{name:4} {label:11} {found:7.3f} s   {found / best['bare loop']:.3f}")


if __name__ == "__main__":
    main()
