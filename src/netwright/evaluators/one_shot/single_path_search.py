"""Single-path one-shot search: weights trained by sampled paths, sub-networks from any strategy."""

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
from netwright.evaluators.one_shot.supernet_setup import SupernetSetup
from netwright.files.run_layout import POLICY
from netwright.interfaces.strategy import MakeStrategy
from netwright.networks.build import build
from netwright.networks.training.labelled_data import LabelledData
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

_WEIGHT_ROWS_SHARE = 0.8
"""Share of the rows that train the weights; the rest scores sub-networks."""
_MAX_SCORING_ROWS = 2000
"""At most so many rows score sub-networks, whose scores are needed by the hundred."""
_RECALIBRATION_ROWS = 20 * 64
"""Rows of the batches that recalibrate running statistics: the first, which are in random order."""


@dataclass(frozen=True)
class _PolicyLog:
    """The file `POLICY`: for each sub-network the epoch, its candidate, its status and metrics."""

    log: tuple[tuple[int, str, Literal["done", "infeasible"], Mapping[str, float]], ...]


@dataclass(frozen=True)
class SubnetSearch:
    """The strategy that searches among sub-networks, and its goals."""

    make_strategy: MakeStrategy
    objectives: Sequence[Objective]
    limits: Sequence[Limit] = ()


@dataclass(frozen=True)
class SinglePathResult:
    """The best candidates, best first, and the findings on whether shared weights can be trusted."""

    candidates: list[Candidate]
    findings: list[Finding]
    epochs: list[SampledEpoch]
    n_evaluations: int


@dataclass
class SinglePathSearch:
    """Train shared weights by sampled paths, search among sub-networks, check their ranking.

    After a kill the training resumes; the search after it starts over.
    """

    setup: SupernetSetup
    settings: SinglePathNAS
    subnet_search: SubnetSearch
    phase_shares: PhaseShares = PhaseShares()
    _log: list[tuple[int, Trial]] = field(default_factory=list)
    """Epoch and trial of each evaluated sub-network."""

    def __post_init__(self) -> None:
        setup = self.setup
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(setup.seed)
            self.shared = SharedWeights(
                setup.network, setup.inputs.shape, setup.prefix, **setup.inputs.given
            )
        self.shared.to(setup.device)
        self.weight_rows, self.scoring_rows = random_split(
            setup.training_rows(), _WEIGHT_ROWS_SHARE, setup.seed
        )
        self.space = setup.space.fix(
            {**setup.values_outside_network(), **setup.values_without_columns}
        )
        self._objectives, self._limits = self._measurable_goals()
        self.strategy = self.subnet_search.make_strategy(self.space, self._objectives, self._limits)
        self._score_subnet = self._make_evaluator()
        sampler = self.settings.training.sampler
        self.trains_by_policy = isinstance(sampler, PolicySampler)
        if self.trains_by_policy:
            sampler = StrategySampler(self._sample, "the strategy that searches")
        training = replace(self.settings.training, sampler=sampler)
        self.trainer = SharedWeightsTrainer(
            self.space,
            self.shared,
            self.weight_rows,
            training,
            setup.seed,
            setup.folder,
            setup.batch_transform(),
        )
        if self.trains_by_policy:
            self._replay()

    def run(
        self,
        n: int,
        deadline: float,
        on_epoch: Callable[[SampledEpoch], None],
        on_progress: Callable[[str], None] = lambda text: None,
    ) -> SinglePathResult:
        """Train, search and check until the deadline.

        Args:
            n: maximum number of candidates to return.
            deadline: on the clock of `time.monotonic()`.
            on_epoch: called after each epoch of training.
            on_progress: called with a few words on the work after training.
        """
        started_at, phases = time.monotonic(), self.phase_shares

        def end_of(share: float) -> float:
            return started_at + share * (deadline - started_at) if isfinite(deadline) else inf

        def after_epoch(epoch: SampledEpoch) -> None:
            if self.trains_by_policy:
                self._evaluate_after(len(self.trainer.history), end_of(phases.sampled_search))
            on_epoch(epoch)

        if self.trains_by_policy and self.trainer.history:
            self._evaluate_after(len(self.trainer.history), end_of(phases.sampled_search))
        training_share = phases.sampled_search if self.trains_by_policy else phases.sampled_training
        self.trainer.train(end_of(training_share), after_epoch)
        if not self.trains_by_policy:
            on_progress(f"trained, scoring {self.settings.evaluations} sub-networks")
            self._evaluate(self.settings.evaluations, 0, end_of(phases.sampled_search))
        on_progress("checking how well shared weights rank networks")
        findings = []
        if self.settings.safeguards.n_ranking_networks:
            findings = [self._check_ranking(end_of(1.0))]
        return SinglePathResult(self._best(n), findings, self.trainer.history, len(self._log))

    # Scores of sub-networks

    def _measurable_goals(self) -> tuple[list[Objective], list[Limit]]:
        """Return the goals that are scores of predictions or costs.

        Goals of latency or file size are left out, and metrics that the scoring rows do not define,
        such as auc without a class.
        """
        costs = NetworkCosts(self.setup.space, self.setup.task)
        measurable = {*self._defined_metrics, *costs.metrics}
        goals = self.subnet_search
        objectives = [objective for objective in goals.objectives if objective.metric in measurable]
        if not objectives:
            objectives = [Objective(self._default_metric, metric(self._default_metric).direction)]
        return objectives, [limit for limit in goals.limits if limit.metric in measurable]

    @cached_property
    def _defined_metrics(self) -> tuple[str, ...]:
        """The metrics that the scoring rows define."""
        target = self.scoring_rows.take(slice(_MAX_SCORING_ROWS)).targets.numpy()
        task = self.setup.task
        return defined(task.kind, target, len(task.classes))

    @property
    def _default_metric(self) -> str:
        """The task's metric if it is defined, else log loss, which always is."""
        name = default_metric(self.setup.task.kind)
        return name if name in self._defined_metrics else "log_loss"

    def _make_evaluator(self) -> InheritAndValidate:
        """Return the evaluator on scaled rows; errors are in the targets' unit."""
        return InheritAndValidate(
            self.shared,
            self.setup.task.kind,
            self._scaled(self.weight_rows.take(slice(_RECALIBRATION_ROWS))),
            self._scaled(self.scoring_rows.take(slice(_MAX_SCORING_ROWS))),
            seed=self.setup.seed,
        )

    def _scaled(self, rows: LabelledData) -> LabelledData:
        return self.setup.batch_transform()(rows, self.shared.device)

    def _measure(self, candidate: Candidate) -> Metrics:
        job = Job(Proposal(candidate), self.setup.seed, self.setup.folder)
        costs = NetworkCosts(self.setup.space, self.setup.task)
        _, metrics = costs.inputs_and_costs(self.setup.space.fill(candidate))
        return {**metrics, **self._score_subnet(job)}

    # The search among them

    def _sample(self, rng: RNG) -> Candidate:
        """Return the strategy's proposal; a random candidate once it has proposed all."""
        proposals = self.strategy.ask(1, rng)
        return proposals[0].candidate if proposals else self.space.sample(rng)

    def _evaluate_after(self, epoch: int, deadline: float) -> None:
        """Evaluate an epoch's share of the sub-networks, with the weights after it; save the log."""
        if any(logged_epoch == epoch for logged_epoch, _ in self._log):
            return
        per_epoch = self.settings.evaluations / self.settings.training.epochs
        self._evaluate(max(1, round(per_epoch)), epoch, deadline)
        entries = [
            [logged_epoch, trial.candidate.json(), trial.status, dict(trial.metrics)]
            for logged_epoch, trial in self._log
        ]
        self.setup.write(POLICY, {"log": entries})

    def _evaluate(self, n: int, epoch: int, deadline: float) -> None:
        """Ask the strategy for `n` sub-networks, evaluate them and tell it."""
        for _ in range(n):
            if time.monotonic() > deadline:
                return
            rng = np.random.default_rng([self.setup.seed, 1, len(self._log)])
            proposals = self.strategy.ask(1, rng)
            if not proposals:
                return
            trial = Trial(len(self._log) + 1, proposals[0], self.setup.seed)
            self.strategy.tell(trial)
            try:
                ended = replace(trial, status=Status.DONE, metrics=self._measure(trial.candidate))
            except InfeasibleCandidate as error:
                ended = replace(trial, status=Status.INFEASIBLE, error=str(error))
            self.strategy.tell(ended)
            self._log.append((epoch, ended))

    def _replay(self) -> None:
        """Tell the strategy the log up to the last epoch in the checkpoint."""
        saved = self.setup.read_as(POLICY, _PolicyLog)
        for epoch, text, status, metrics in saved.log if saved else ():
            if epoch > len(self.trainer.history):
                return
            candidate = Candidate.from_json(text)
            self.space.check(candidate)
            trial = Trial(len(self._log) + 1, Proposal(candidate), self.setup.seed)
            ended = replace(trial, status=Status(status), metrics=metrics)
            self.strategy.tell(trial)
            self.strategy.tell(ended)
            self._log.append((epoch, ended))

    def _best(self, n: int) -> list[Candidate]:
        """Return the best candidates, one Pareto front after the other."""
        remaining = [trial for _, trial in self._log if trial.status is Status.DONE]
        best: dict[Candidate, None] = {}
        while remaining and len(best) < n:
            front = pareto_front(remaining, self._objectives, self._limits)
            front = front or pareto_front(remaining, self._objectives)
            best |= dict.fromkeys(trial.candidate for trial in front)
            remaining = [trial for trial in remaining if trial.candidate not in best]
        return [*best][:n]

    def _check_ranking(self, deadline: float) -> Finding:
        safeguards, setup = self.settings.safeguards, self.setup
        name = self._default_metric
        sign = -1.0 if metric(name).direction == "min" else 1.0

        def build_module(candidate: Candidate) -> nn.Module:
            return build(self.shared.network_of(candidate), setup.inputs.shape)

        candidates = sample_feasible(
            self.space, self.shared.is_feasible, safeguards.n_ranking_networks, setup.seed
        )
        short_training = ShortTraining(
            safeguards.ranking_epochs,
            self.settings.training.batch_size,
            setup.batch_transform(),
            setup.seed,
        )
        return check_ranking(
            candidates,
            lambda candidate: sign * self._measure(candidate)[name],
            build_module,
            (self.weight_rows, self.scoring_rows),
            short_training,
            deadline,
        )
