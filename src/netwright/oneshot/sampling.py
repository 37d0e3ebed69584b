"""Shared weights trained by sampled paths: in each step some candidates, drawn by a sampler."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from netwright.errors import InfeasibleCandidate, InputError, expected
from netwright.networks.costs import costs
from netwright.networks.training import Examples, loss_of
from netwright.oneshot.checkpoints import Checkpoint
from netwright.oneshot.epochs import Clock, Feed, half_cosine, seed_of, shuffled
from netwright.oneshot.sharing import SharedWeights
from netwright.space.candidate import Candidate, Value
from netwright.space.choices import NumberChoice, Options, SubsetOfChoice
from netwright.space.decision import Decision
from netwright.space.space import RNG, Space

_DRAWS = 20
"""So often a step is drawn again when one of its candidates cannot be trained."""
_STARTS = 100
"""Random candidates among which there has to be one that can be built."""
_SUBSETS = 64
"""So many are compared, to find the largest candidate."""
_SHORT = 32
"""A longer range of numbers is dealt in shares."""


class Step(NamedTuple):
    """The candidates of one step, whose gradients are added up before the weights move.

    `taught`: all but the first learn from what the first gives for the same rows, not from labels.
    """

    candidates: tuple[Candidate, ...]
    taught: bool = False


@dataclass(frozen=True)
class Source:
    """What a sampler draws from."""

    space: Space[Any]
    shared: SharedWeights

    def holds(self, candidate: Candidate) -> bool:
        """Whether it keeps the space's rule, and its network can be built."""
        return self.space.holds(candidate) and self.shared.leads_through(candidate)

    @cached_property
    def largest(self) -> Candidate:
        """The candidate of the most operations, then of the most weights: found decision by
        decision, until no other value of any makes it larger."""
        return self._extreme(1)

    @cached_property
    def smallest(self) -> Candidate:
        """As `largest`, of the fewest."""
        return self._extreme(-1)

    def _extreme(self, sign: int) -> Candidate:
        best = self._start(sign)
        size = self._size(best, sign)
        assert size is not None  # it can be built
        before: Candidate | None = None
        while best != before:
            before = best
            for decision in self.space.decisions:
                for value in _values(decision, sign) if decision.path in best.values else ():
                    other = self._completed({**best.values, decision.path: value}, sign)
                    found = self._size(other, sign)
                    if found is not None and found > size:
                        best, size = other, found
        return best

    def _start(self, sign: int) -> Candidate:
        """All last options and highest numbers, or all first and lowest; else a random candidate."""
        rng = np.random.default_rng(0)
        for one in (self._completed({}, sign), *(self.space.sample(rng) for _ in range(_STARTS))):
            if self.holds(one):
                return one
        raise InfeasibleCandidate(f"no candidate could be built, among {_STARTS} of the space.")

    def _completed(self, given: Mapping[str, Value], sign: int) -> Candidate:
        """With all that is given, as far as it is asked."""
        values: dict[str, Value] = {}
        for one in self.space.decisions:
            if one.is_asked(values):
                values[one.path] = given.get(one.path, one.at(float(sign > 0)))
        return Candidate(values)

    def _size(self, candidate: Candidate, sign: int) -> tuple[int, int] | None:
        """None of what cannot be built, or breaks the rule."""
        if not self.space.holds(candidate):
            return None
        try:
            found = costs(self.shared.filled(candidate), self.shared.input_shape)
        except InfeasibleCandidate:
            return None
        return sign * found.flops, sign * found.parameters


def _values(decision: Decision, sign: int) -> Sequence[Value]:
    """Those that may make a candidate largest (or smallest): of numbers both ends, of subsets those
    of the most (or fewest) members."""
    if isinstance(decision.choice, NumberChoice):
        return (decision.at(0.0), decision.at(1.0))
    if isinstance(decision.choice, SubsetOfChoice):
        lengths = {value: len(value) for value in decision.values if isinstance(value, tuple)}
        wanted = max(lengths.values()) if sign > 0 else min(lengths.values())
        return [value for value, length in lengths.items() if length == wanted][:_SUBSETS]
    return decision.values


class Sampler(Protocol):
    """Draws the candidates of one step; a frozen dataclass of settings, whose repr names it."""

    def step(self, source: Source, random: RNG) -> Step: ...


@dataclass(frozen=True)
class Uniform:
    """One path a step, uniform choice by choice (Guo et al. 2020, 1904.00420), or over whole
    candidates (`by` "leaf")."""

    by: Literal["choice", "leaf"] = "choice"

    def step(self, source: Source, random: RNG) -> Step:
        return Step((source.space.sample(random, self.by),))


@dataclass(frozen=True)
class StrictlyFair:
    """In each step every option is trained as often as any other of its choice (Chu et al. 2021,
    FairNAS, 1907.01845, algorithm 1).

    There are as many paths as the widest choice has options. Every choice deals its options from a
    shuffled deck, and shuffles anew when that is empty: where all have as many options, each is
    trained exactly once; else none more than once more than another of the choices that were
    asked. A subset is dealt by its members, of a size that is drawn; a long range of numbers in as
    many equal shares as there are paths.
    """

    def step(self, source: Source, random: RNG) -> Step:
        decisions = source.space.decisions
        paths = max((n for n in map(_cards, decisions) if n <= _SHORT), default=1)
        decks = {one.path: _Deck(one, paths, random) for one in decisions}
        candidates = []
        for _ in range(max(paths, 1)):
            values: dict[str, Value] = {}
            for one in decisions:
                if one.is_asked(values):
                    values[one.path] = decks[one.path].deal()
            candidates.append(Candidate(values))
        return Step(tuple(candidates))


def _cards(decision: Decision) -> int:
    """How many options there are to be fair to: the members of a subset, 0 of real numbers."""
    if isinstance(decision.choice, Options) and not decision.fixed:
        return decision.options
    return len(decision.values)


class _Deck:
    """Deals the options of a decision so that none comes up twice before each has once."""

    def __init__(self, decision: Decision, paths: int, random: RNG) -> None:
        self._decision, self._random = decision, random
        self._shares = paths if not 0 < _cards(decision) <= _SHORT else 0
        self._left: list[int] = []

    def deal(self) -> Value:
        decision, choice = self._decision, self._decision.choice
        if isinstance(choice, SubsetOfChoice) and not decision.fixed:
            some = decision.values[int(self._random.integers(len(decision.values)))]
            assert isinstance(some, tuple)  # a subset: its size is drawn
            held: list[int] = []
            while len(held) < len(some):
                held.append(self._next(len(choice.labels), held))
            return tuple(choice.labels[i] for i in sorted(held))
        if self._shares:
            return decision.at(
                (self._next(self._shares, []) + self._random.random()) / self._shares
            )
        return decision.values[self._next(len(decision.values), [])]

    def _next(self, size: int, held: list[int]) -> int:
        """The next card that is not held already."""
        if not set(self._left) - set(held):
            self._left += [int(i) for i in self._random.permutation(size)]
        place = next(i for i, card in enumerate(self._left) if card not in held)
        return self._left.pop(place)


@dataclass(frozen=True)
class Sandwich:
    """The largest candidate, the smallest, and `random` others in each step; all learn from what the
    largest gives for the rows (Yu and Huang 2019, 1903.05134: the sandwich rule with in-place
    distillation)."""

    random: int = 2

    def __post_init__(self) -> None:
        if self.random < 0:
            raise InputError(expected("random", "at least 0", self.random))

    def step(self, source: Source, random: RNG) -> Step:
        others = (source.space.sample(random) for _ in range(self.random))
        return Step((source.largest, source.smallest, *others), taught=True)


@dataclass(frozen=True)
class Drawn:
    """One path a step, drawn by a policy that learns meanwhile: the weights' half of ENAS (Pham et
    al. 2018, 1802.03268).

    `name` stands for the policy in a checkpoint; where it is by then is the caller's to keep.
    """

    draw: Callable[[RNG], Candidate] = field(repr=False)
    name: str

    def step(self, source: Source, random: RNG) -> Step:
        return Step((self.draw(random),))


@dataclass(frozen=True)
class ByPolicy:
    """Stands for the draws of the strategy that searches, which whoever runs both puts in its place
    as `Drawn`: ENAS is this with REINFORCE."""

    def step(self, source: Source, random: RNG) -> Step:
        raise InputError(f"{self} must be replaced by Drawn, got asked for a step.")


class SampledEpoch(NamedTuple):
    """What an epoch left behind: the mean loss against labels, how much of the search was over."""

    loss: float
    progress: float


@dataclass(frozen=True)
class Sampled:
    """The settings of training by sampled paths. The learning rate falls by half a cosine from `lr`
    to 0; momentum is Nesterov's; `decay` and `clip` as in `Gradient`."""

    sampler: Sampler = Uniform()  # frozen
    epochs: int = 50
    batch_size: int = 64
    lr: float = 0.05
    momentum: float = 0.9
    decay: float = 4e-5
    clip: float = 5.0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(expected(name, "at least 1", getattr(self, name)))
        for name in ("lr", "clip"):
            if not getattr(self, name) > 0:
                raise InputError(expected(name, "above 0", getattr(self, name)))


@dataclass
class SampledSearch:
    """Shared weights in training.

    What `train_to(epoch)` leaves is a function of what the search was made of and of the epoch
    (with `Drawn`, of the policy as well). With a `folder` every epoch ends in a checkpoint, and a
    search that was killed goes on there, bit for bit (on a CPU). `record`: the mean loss of each
    epoch against labels. Raises RunError when the folder is of another search.
    """

    space: Space[Any]
    shared: SharedWeights
    rows: Examples
    settings: Sampled
    seed: int = 0
    folder: Path | None = None
    feed: Feed = Feed()  # noqa: RUF009  # frozen
    record: list[SampledEpoch] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not len(self.rows):
            raise InputError(expected("rows", "at least 1", 0))
        s = self.settings
        self._source = Source(self.space, self.shared)
        self._weights = [*self.shared.parameters()]
        self._optimizer = torch.optim.SGD(
            self._weights,
            lr=s.lr,
            momentum=s.momentum,
            weight_decay=s.decay,
            nesterov=s.momentum > 0,
        )
        if (saved := self._checkpoint) and saved.exists:
            self.record = [SampledEpoch(*one) for one in saved.load()]

    def train_to(self, epoch: int) -> None:
        """Trains until so many epochs are over; nothing where they are.

        Raises InfeasibleCandidate when the loss stops being a number, or nothing leads through what
        is drawn.
        """
        if not 0 <= epoch <= self.settings.epochs:
            rule = f"from 0 to the {self.settings.epochs} of the settings"
            raise InputError(expected("epoch", rule, epoch))
        while len(self.record) < epoch:
            self._train_one(Clock())

    @property
    def over(self) -> bool:
        """Whether there is nothing left to train."""
        return bool(self.record) and self.record[-1].progress >= 1

    def train(
        self, deadline: float = math.inf, watch: Callable[[SampledEpoch], None] = lambda one: None
    ) -> None:
        """Trains until all epochs are over, or the time is up: the schedule then runs its whole
        course in the time there is."""
        clock = Clock(deadline, self.record[-1].progress if self.record else 0.0)
        while not self.over:
            self._train_one(clock)
            watch(self.record[-1])

    def _train_one(self, clock: Clock) -> None:
        self.record.append(self._epoch(len(self.record), clock))
        if saved := self._checkpoint:
            saved.save(self.record)

    def _epoch(self, number: int, clock: Clock) -> SampledEpoch:
        """One pass over the rows; all draws are those of the seed and the number."""
        s, seed = self.settings, seed_of(self.seed, number)
        random = np.random.default_rng(seed)
        batches = max(1, round(len(self.rows) / s.batch_size))
        losses: list[Tensor] = []
        self.shared.train()
        with torch.random.fork_rng(devices=[]):  # dropout draws from the global generator
            torch.manual_seed(seed)
            order = torch.Generator().manual_seed(seed)
            for i, batch in enumerate(shuffled(self.rows, batches, order)):
                progress = clock.progress((number + i / batches) / s.epochs)
                if progress >= 1 and losses:
                    break
                self._optimizer.param_groups[0]["lr"] = half_cosine(s.lr, 0.0, min(progress, 1.0))
                rows = self.feed(batch, self.shared.device, order)
                losses.append(self._step(rows, self._drawn(random)))
        mean = float(torch.stack(losses).mean())
        if not math.isfinite(mean):
            raise InfeasibleCandidate(
                f"the training of shared weights diverged: the loss became {mean} in epoch "
                f"{number + 1}. Use a lower lr."
            )
        return SampledEpoch(mean, min(clock.progress((number + 1) / s.epochs), 1.0))

    def _drawn(self, random: RNG) -> Step:
        """A step of the sampler, drawn again where it has a candidate that cannot be trained; at
        last without those."""
        for _ in range(_DRAWS):
            step = self.settings.sampler.step(self._source, random)
            able = tuple(filter(self._source.holds, step.candidates))
            if len(able) == len(step.candidates):
                break
        if not able:
            raise InfeasibleCandidate(
                f"some candidate must be one that can be trained, got none in {_DRAWS} draws of "
                f"{self.settings.sampler}."
            )
        return step._replace(candidates=able)

    def _step(self, rows: Examples, step: Step) -> Tensor:
        """The mean loss against labels."""
        losses: list[Tensor] = []
        teacher: Tensor | None = None
        for candidate in step.candidates:
            out = self.shared(rows.inputs, candidate)
            if teacher is not None:
                distillation(out, teacher, rows.targets).backward()
                continue
            loss = loss_of(out, rows.targets)
            loss.backward()
            losses.append(loss.detach())
            teacher = out.detach() if step.taught else None
        # None where no path led: neither decay nor momentum
        nn.utils.clip_grad_norm_(self._weights, self.settings.clip)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return torch.stack(losses).mean()

    @property
    def _checkpoint(self) -> Checkpoint | None:
        if self.folder is None:
            return None
        # what a checkpoint has to share to be gone on with; the rows are the caller's to keep
        identity = f"{self.settings}, seed {self.seed}, space {self.space.fingerprint[:12]}"
        optimizers: Mapping[str, torch.optim.Optimizer] = {"weights_optimizer": self._optimizer}
        return Checkpoint(self.folder, identity, self.shared, optimizers)


def distillation(output: Tensor, teacher: Tensor, targets: Tensor) -> Tensor:
    """How far an output (batch, outputs) is from the teacher's: the cross-entropy with its
    probabilities where the targets are classes, else the squared error."""
    if targets.is_floating_point():
        return nn.functional.mse_loss(output, teacher)
    return nn.functional.cross_entropy(output, teacher.softmax(1))
