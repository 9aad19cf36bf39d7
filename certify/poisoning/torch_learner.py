"""Many small torch networks trained at once, each as if it were alone.

The parameters of `chunk` networks are stacked and trained by one `vmap`; convolutions become grouped convolutions. Whatever trains
beside a network must not change a bit of it, so nothing may depend on its neighbours, not even through the choice of a kernel:
every chunk has the same shapes (networks that nobody asked for fill it up), classifier b always sits in slot b mod chunk, and
minibatches have one size whatever the size of a bucket, drawn from a stream of the classifier's own. `check_isolation` tests this
on the machine at hand.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from certify.poisoning.learner import Job, describe

Weights = dict[str, Tensor]


def sgd(parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
    """Stochastic gradient descent, rate 0.1, Nesterov momentum 0.9, weight decay 5e-4."""
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)


def adam(parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
    """Adam, rate 0.01."""
    return torch.optim.Adam(parameters, lr=0.01)


@dataclass(frozen=True)
class TorchLearner:
    """Networks made by `factory`, trained for `steps` minibatches of `batch` samples by cross-entropy, the rate falling along a
    cosine.

    `factory` returns a module from inputs to logits of all classes, without BatchNorm (it would carry running statistics) and
    without dropout; it is called under the classifier's own seed. `optimizer` must treat every parameter elementwise, as SGD
    and Adam do.
    """

    factory: Callable[[], nn.Module]
    steps: int = 200
    batch: int = 32
    optimizer: Callable[[Sequence[Tensor]], torch.optim.Optimizer] = sgd
    chunk: int = 32
    device: str = "cpu"

    @property
    def block(self) -> int:
        """One chunk."""
        return self.chunk

    def spec(self) -> dict[str, Any]:
        """All settings, the architecture as it prints, versions and the kind of machine."""
        settings = {name: getattr(self, name) for name in ("steps", "batch", "chunk")}
        device = torch.cuda.get_device_name(self.device) if self.device.startswith("cuda") else "cpu"
        functions = {"factory": describe(self.factory), "optimizer": describe(self.optimizer), "network": repr(self.factory())}
        versions = [torch.__version__, np.__version__, torch.backends.cpu.get_cpu_capability(), torch.get_num_threads(), device]
        return {"learner": "torch", **settings, **functions, "versions": versions}

    def fit(self, X: Any, y: np.ndarray, classes: int, jobs: Sequence[Job]) -> list[Weights]:
        """One state dict per job."""
        inputs = torch.as_tensor(np.asarray(X, dtype=np.float32), device=self.device)
        labels = torch.as_tensor(y, device=self.device)
        self.check(inputs, classes)
        trained: dict[int, Weights] = {}
        for slots in seatings(jobs, self.chunk):
            stacked = self._fit_chunk(inputs, labels, slots)
            trained |= {job.classifier: {n: w[s].clone() for n, w in stacked.items()} for s, job in slots.items()}
        return [trained[job.classifier] for job in jobs]

    def check(self, inputs: Tensor, classes: int) -> None:
        """A ValueError where the factory makes no module that gives a score for every class to every input, by itself."""
        network = seeded(self.factory, 0)
        random = [
            name for name, layer in network.named_modules() if isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0
        ]
        if random:
            raise ValueError(f"the network drops values at random ({random[0]}); base classifiers are trained without dropout")
        refuse_statistics(network)
        try:
            with torch.no_grad():
                scores = network.to(self.device)(inputs[:2])
        except (TypeError, RuntimeError, IndexError, AttributeError) as error:
            raise ValueError(f"the network cannot take samples of shape {list(inputs.shape[1:])}: {_first_line(error)}") from error
        shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        if shape != (len(inputs[:2]), classes):
            raise ValueError(
                f"the network returns {shape} for {len(inputs[:2])} samples; it must return a score for each of {classes} classes, "
                f"{(len(inputs[:2]), classes)}"
            )

    def scores(self, models: Sequence[Weights], X: Any) -> np.ndarray:
        """Logits, (models, inputs, classes), one network after the other."""
        network = self.module(models[0])
        inputs = torch.as_tensor(np.asarray(X, dtype=np.float32), device=self.device)
        with torch.no_grad():
            logits = [torch.cat([functional_call(network, model, (x,)) for x in inputs.split(1024)]) for model in models]
        return torch.stack(logits).double().cpu().numpy()

    def dump(self, model: Weights) -> bytes:
        """Arrays in numpy's format, without pickle."""
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **{name: weight.cpu().numpy() for name, weight in model.items()})
        return file.getvalue()

    def load(self, content: bytes) -> Weights:
        """Reads what `dump` wrote; never runs code."""
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return {name: torch.as_tensor(arrays[name], device=self.device) for name in arrays.files}

    def module(self, model: Weights) -> nn.Module:
        """A trained network as a module of its own."""
        network = self.factory().to(self.device).eval()
        network.load_state_dict(model)
        return network

    def _fit_chunk(self, inputs: Tensor, labels: Tensor, slots: dict[int, Job]) -> Weights:
        """Trains one full chunk; slots without a job train on the first sample, which nobody looks at."""
        seeds = [slots[s].seed if s in slots else 0 for s in range(self.chunk)]
        networks = [seeded(self.factory, seed).to(self.device) for seed in seeds]
        parameters, _ = stack_module_state(networks)
        skeleton = networks[0]

        def loss(weights: Weights, x: Tensor, target: Tensor) -> Tensor:
            return nn.functional.cross_entropy(functional_call(skeleton, weights, (x,)), target)

        gradients = vmap(grad(loss))
        optimizer = self.optimizer(list(parameters.values()))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        nothing = np.zeros((self.steps, self.batch), dtype=np.int64)
        order = np.stack([draws(slots[s], self.steps, self.batch) if s in slots else nothing for s in range(self.chunk)], axis=1)
        for index in torch.as_tensor(order, device=self.device):
            for name, gradient in _several(gradients, parameters, inputs[index], labels[index]).items():
                parameters[name].grad = gradient
            optimizer.step()
            schedule.step()
        return {name: parameter.detach() for name, parameter in parameters.items()}


def refuse_statistics(network: nn.Module) -> None:
    """A ValueError where a network has buffers."""
    buffers = [name for name, _ in network.named_buffers()]
    if buffers:
        raise ValueError(f"the network keeps statistics of its inputs ({', '.join(buffers)}); use GroupNorm instead of BatchNorm")


def _several(gradients: Callable[..., Weights], *arguments: Any) -> Weights:
    """Gradients of many networks at once; a ValueError where torch cannot batch what the network does."""
    try:
        return gradients(*arguments)
    except (RuntimeError, NotImplementedError) as error:
        raise ValueError(f"many copies of the network cannot be trained at once (torch.func.vmap: {_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).split("\n", 1)[0]


def seeded(factory: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A network initialised from a seed, without touching the generators of the process."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = factory()
        if not isinstance(made, nn.Module):
            raise ValueError(f"the factory of a TorchLearner must return a torch module, got {type(made).__name__}")
        return made.train()


def draws(job: Job, steps: int, batch: int) -> np.ndarray:
    """Indices of the samples of each minibatch, (steps, batch): one random order of the job's samples after the other."""
    random = np.random.Generator(np.random.PCG64(job.seed))
    samples = job.samples
    rounds = -(-steps * batch // len(samples))
    stream = np.concatenate([random.permutation(len(samples)) for _ in range(rounds)])
    return samples[stream[: steps * batch]].reshape(steps, batch)


def seatings(jobs: Sequence[Job], chunk: int) -> Iterator[dict[int, Job]]:
    """Groups jobs so that classifier b has slot b mod chunk and no slot is taken twice."""
    waiting = list(jobs)
    while waiting:
        slots: dict[int, Job] = {}
        later = []
        for job in waiting:
            if job.classifier % chunk in slots:
                later.append(job)
            else:
                slots[job.classifier % chunk] = job
        yield slots
        waiting = later
