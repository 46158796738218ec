"""A loop written by hand: shuffled rows, AdamW, one-cycle, a validation after each epoch."""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.contenders.plain_models import plain_model, score
from benchmarks.contenders.task import Task, contend


def build(task: Task) -> tuple[Callable[[], int], Callable[[], float]]:
    torch.manual_seed(task.seed)
    device = torch.device(task.device)

    def tensors(part: str) -> list[Tensor]:
        return [torch.from_numpy(array).to(device) for array in task.part(part)]

    train, val, test = tensors("train"), tensors("val"), tensors("test")
    model, loss_function = plain_model(task)
    model.to(device)
    compiled = torch.compile(model, mode="reduce-overhead") if task.compile else model
    steps_per_epoch = -(-len(train[-1]) // task.batch_size)
    optimizer = torch.optim.AdamW(
        model.parameters(), task.lr, betas=(0.9, 0.99), weight_decay=task.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, task.lr, epochs=task.epochs, steps_per_epoch=steps_per_epoch
    )

    def fit() -> int:
        for _ in range(task.epochs):
            total = torch.zeros((), device=device)
            for rows in torch.randperm(len(train[-1]), device=device).split(task.batch_size):
                *inputs, target = (column[rows] for column in train)
                loss = loss_function(compiled(*inputs), target)
                total += loss.detach() * len(rows)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
            shown = f"train loss {float(total) / len(train[-1]):.4f}"
            if val:
                shown += f"  val {task.metric} {score(model, val, task.metric):.4f}"
            print(shown)  # noqa: T201
        return task.epochs * steps_per_epoch

    return fit, lambda: score(model, test, task.metric)


if __name__ == "__main__":
    contend(build)
