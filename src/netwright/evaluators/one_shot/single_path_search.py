"""Single-path search: weights trained by sampled paths, sub-networks found by any strategy."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf, isfinite
from typing import Literal

import numpy as np
import torch
from torch import nn

from netwright.errors import InfeasibleCandidate
from netwright.evaluators.costs import NetworkCosts
from netwright.evaluators.one_shot.inherited_weights import InheritAndValidate
from netwright.evaluators.one_shot.supernet_setup import Opened
from netwright.files.run_layout import POLICY
from netwright.interfaces.strategy import MakeStrategy
from netwright.networks.build import build
from netwright.networks.training.loop import LabelledData
from netwright.oneshot.epoch_trainer import random_split
from netwright.oneshot.monitor import Finding
from netwright.oneshot.ranking import ShortTraining, check_ranking, sample_feasible
from netwright.oneshot.single_path.samplers import PolicySampler, StrategySampler
from netwright.oneshot.single_path.settings import SinglePathNAS
from netwright.oneshot.single_path.training import SampledEpoch, SharedWeightsTrainer
from netwright.oneshot.weight_sharing.elastic_supernet import SharedWeights
from netwright.space.candidate import Candidate
from netwright.space.space import RNG
from netwright.trials.metrics import default_metric, defined, metric
from netwright.trials.objective import Limit, Objective
from netwright.trials.pareto import pareto_front
from netwright.trials.time_budget import PhaseShares
from netwright.trials.trial import Job, Metrics, Proposal, Status, Trial

_SHARE = 0.8
"""Of the rows, for the weights; the rest judges sub-networks."""
_JUDGES = 2000
"""Rows at most that do."""
_RECALIBRATING = 20 * 64
"""Rows in whose batches running statistics are found; they are in random order already."""


@dataclass(frozen=True)
class _Log:
    """`POLICY`, as it is read back: for each sub-network the epoch, its candidate, how it ended and
    its metrics."""

    log: tuple[tuple[int, str, Literal["done", "infeasible"], Mapping[str, float]], ...]


@dataclass(frozen=True)
class Among:
    """Who searches among sub-networks, and for what."""

    make: MakeStrategy
    objectives: Sequence[Objective]
    limits: Sequence[Limit] = ()


@dataclass(frozen=True)
class Found:
    """Candidates, best first, and what is to be believed of them."""

    candidates: list[Candidate]
    findings: list[Finding]
    epochs: list[SampledEpoch]
    evaluations: int


@dataclass
class SampledWork:
    """Trains, searches and checks; everything but the search after training goes on after a kill."""

    opened: Opened
    settings: SinglePathNAS
    among: Among
    phases: PhaseShares = PhaseShares()
    _log: list[tuple[int, Trial]] = field(default_factory=list)

    def __post_init__(self) -> None:
        opened = self.opened
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(opened.seed)
            self.shared = SharedWeights(
                opened.network, opened.inputs.shape, opened.prefix, **opened.inputs.given
            )
        self.shared.to(opened.device)
        self.rows, self.judges = random_split(opened.rows(), _SHARE, opened.seed)
        self.space = opened.space.fix({**opened.outside(), **opened.idle})
        self._objectives, self._limits = self._measurable()
        self.searcher = self.among.make(self.space, self._objectives, self._limits)
        self._judge = self._evaluator()
        sampler = self.settings.training.sampler
        self.by_policy = isinstance(sampler, PolicySampler)
        if self.by_policy:
            sampler = StrategySampler(self._draw, "the strategy that searches")
        training = replace(self.settings.training, sampler=sampler)
        self.search = SharedWeightsTrainer(
            self.space, self.shared, self.rows, training, opened.seed, opened.folder,
            opened.feed(),
        )  # fmt: skip
        if self.by_policy:
            self._replay()

    def run(
        self, number: int, deadline: float, watch: Callable[[SampledEpoch], None],
        says: Callable[[str], None] = lambda text: None,
    ) -> Found:  # fmt: skip
        """At most `number` candidates; `says` hears what is done when no epoch ends."""
        begun, phases = time.monotonic(), self.phases

        def until(share: float) -> float:
            return begun + share * (deadline - begun) if isfinite(deadline) else inf

        def after(epoch: SampledEpoch) -> None:
            if self.by_policy:
                self._judge_some(len(self.search.history), until(phases.sampled_search))
            watch(epoch)

        if self.by_policy and self.search.history:
            self._judge_some(len(self.search.history), until(phases.sampled_search))
        self.search.train(
            until(phases.sampled_search if self.by_policy else phases.sampled_training), after
        )
        if not self.by_policy:
            says(f"trained, judging {self.settings.evaluations} sub-networks")
            self._judge_more(self.settings.evaluations, 0, until(phases.sampled_search))
        says("looking whether shared weights rank networks")
        findings = (
            [self._ranking(until(1.0))] if self.settings.safeguards.n_ranking_networks else []
        )
        return Found(self._best(number), findings, self.search.history, len(self._log))

    # What sub-networks are judged by

    def _measurable(self) -> tuple[list[Objective], list[Limit]]:
        """Scores of predictions and costs; what a clock or a file has to say is left out, and what
        the judging rows do not define, such as auc without a class."""
        known = {*self._defined, *NetworkCosts(self.opened.space, self.opened.task).metrics}
        objectives = [one for one in self.among.objectives if one.metric in known]
        if not objectives:
            objectives = [Objective(self._usual, metric(self._usual).direction)]
        return objectives, [one for one in self.among.limits if one.metric in known]

    @cached_property
    def _defined(self) -> tuple[str, ...]:
        """The metrics that the judging rows define."""
        task, truth = self.opened.task, self.judges.take(slice(_JUDGES)).targets.numpy()
        return defined(task.kind, truth, len(task.classes))

    @property
    def _usual(self) -> str:
        """The task's metric where it is defined, else one of probabilities, which always is."""
        name = default_metric(self.opened.task.kind)
        return name if name in self._defined else "log_loss"

    def _evaluator(self) -> InheritAndValidate:
        """On scaled rows, in the targets' own unit."""
        judges = self.judges.take(slice(_JUDGES))
        return InheritAndValidate(
            self.shared, self.opened.task.kind, self._scaled(self.rows.take(slice(_RECALIBRATING))),
            self._scaled(judges), seed=self.opened.seed,
        )  # fmt: skip

    def _scaled(self, rows: LabelledData) -> LabelledData:
        return self.opened.feed()(rows, self.shared.device)

    def _measured(self, candidate: Candidate) -> Metrics:
        job = Job(Proposal(candidate), self.opened.seed, self.opened.folder)
        costs = NetworkCosts(self.opened.space, self.opened.task)
        return {**costs.about(self.opened.space.fill(candidate))[1], **self._judge(job)}

    # The search among them

    def _draw(self, rng: RNG) -> Candidate:
        """The strategy's own; any, where it has proposed all that there is."""
        proposals = self.searcher.ask(1, rng)
        return proposals[0].candidate if proposals else self.space.sample(rng)

    def _judge_some(self, epoch: int, deadline: float) -> None:
        """The epoch's share of the evaluations, with the weights as they are after it."""
        if any(at == epoch for at, _ in self._log):
            return
        share = self.settings.evaluations / self.settings.training.epochs
        self._judge_more(max(1, round(share)), epoch, deadline)
        entries = [
            [at, one.candidate.json(), one.status, dict(one.metrics)] for at, one in self._log
        ]
        self.opened.write(POLICY, {"log": entries})

    def _judge_more(self, number: int, epoch: int, deadline: float) -> None:
        for _ in range(number):
            if time.monotonic() > deadline:
                return
            rng = np.random.default_rng([self.opened.seed, 1, len(self._log)])
            proposals = self.searcher.ask(1, rng)
            if not proposals:
                return
            trial = Trial(len(self._log) + 1, proposals[0], self.opened.seed)
            self.searcher.tell(trial)
            try:
                ended = replace(trial, status=Status.DONE, metrics=self._measured(trial.candidate))
            except InfeasibleCandidate as error:
                ended = replace(trial, status=Status.INFEASIBLE, error=str(error))
            self.searcher.tell(ended)
            self._log.append((epoch, ended))

    def _replay(self) -> None:
        """What the strategy had been told by the end of the last epoch in the checkpoint."""
        kept = self.opened.read_as(POLICY, _Log)
        for at, text, status, metrics in kept.log if kept else ():
            if at > len(self.search.history):
                return
            candidate = Candidate.from_json(text)
            self.space.check(candidate)
            trial = Trial(len(self._log) + 1, Proposal(candidate), self.opened.seed)
            ended = replace(trial, status=Status(status), metrics=metrics)
            self.searcher.tell(trial)
            self.searcher.tell(ended)
            self._log.append((at, ended))

    def _best(self, number: int) -> list[Candidate]:
        """Front after front."""
        left = [trial for _, trial in self._log if trial.status is Status.DONE]
        found: dict[Candidate, None] = {}
        while left and len(found) < number:
            front = pareto_front(left, self._objectives, self._limits)
            front = front or pareto_front(left, self._objectives)
            found |= dict.fromkeys(trial.candidate for trial in front)
            left = [trial for trial in left if trial.candidate not in found]
        return [*found][:number]

    def _ranking(self, deadline: float) -> Finding:
        honesty, opened = self.settings.safeguards, self.opened
        name = self._usual
        sign = -1.0 if metric(name).direction == "min" else 1.0

        def module(candidate: Candidate) -> nn.Module:
            return build(self.shared.network_of(candidate), opened.inputs.shape)

        drawn = sample_feasible(
            self.space, self.shared.is_feasible, honesty.n_ranking_networks, opened.seed
        )
        short = ShortTraining(
            honesty.ranking_epochs, self.settings.training.batch_size, opened.feed(), opened.seed
        )
        return check_ranking(
            drawn, lambda one: sign * self._measured(one)[name], module,
            (self.rows, self.judges), short, deadline,
        )  # fmt: skip
