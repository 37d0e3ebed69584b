"""What is known of networks beforehand: exactly what they cost, and features that never change."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netwright.data.task import Task
from netwright.errors import InfeasibleCandidate, InputError
from netwright.evaluators.benchmarks.table import TableBenchmark
from netwright.evaluators.benchmarks.table_columns import DecisionColumn, MetricColumns
from netwright.evaluators.costs import NetworkCosts
from netwright.evaluators.network_knowledge import INFEASIBLE_FORM, NetworkKnowledge
from netwright.networks.layers.basic import GlobalPool, Pool, Skip, Zero
from netwright.networks.layers.cells import nas_bench_201, nas_bench_201_cell
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.graph import Graph, Node
from netwright.networks.layers.linear import Linear
from netwright.networks.training.recipe import Training
from netwright.space.candidate import Candidate, Value
from netwright.space.choices import Float, Integer, OneOf
from netwright.space.space import Space
from netwright.trials.trial import Job, Metrics, Proposal

CELLS: Space[Any] = Space(nas_bench_201_cell())
EDGES = [f"{j}.{i}" for j in (1, 2, 3) for i in range(j)]


def nothing(candidate: Candidate, description: Any) -> Metrics:
    return {}


def known(space: Space[Any]) -> NetworkKnowledge:
    return NetworkKnowledge(space, nothing)


def cell(*operations: str) -> Candidate:
    """Operations of the edges 0-1, 0-2, 1-2, 0-3, 1-3, 2-3."""
    return Candidate(dict(zip(EDGES, operations, strict=True)))


N, S, C1, C3 = "none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3"


def drawn(n: int, space: Space[Any] = CELLS) -> list[Candidate]:
    rng = np.random.default_rng(3)
    return [space.sample(rng) for _ in range(n)]


def test_equal_networks_share_one_canonical_form() -> None:
    knowledge = known(CELLS)
    # 0 > 1 > 3 by convolution 3 then 1, through either inner node; what is dead may be anything
    one, other, third = (
        cell(C3, N, N, N, C1, N),
        cell(N, C3, N, N, N, C1),
        cell(C3, N, C3, N, C1, N),
    )
    assert knowledge.canonical(one) == knowledge.canonical(other) == knowledge.canonical(third)
    assert knowledge.canonical(one) != knowledge.canonical(cell(C1, N, N, N, C3, N))
    groups = knowledge.features([one, other, cell(C1, N, N, N, C3, N)])
    for group in groups:
        assert np.array_equal(group[0], group[1])
    assert not np.array_equal(groups[0][0], groups[0][2])


def test_all_dead_cells_share_one_canonical_form() -> None:
    knowledge = known(CELLS)
    for dead in (cell(*[N] * 6), cell(C3, C3, C3, N, N, N)):
        assert knowledge.canonical(dead) == INFEASIBLE_FORM == "infeasible"
        assert knowledge.metrics(dead) == {}


def test_candidate_without_costs_is_infeasible() -> None:
    def refuse(candidate: Candidate, description: Any) -> Metrics:
        if candidate.values["1.0"] == S:
            raise InfeasibleCandidate("too large")
        return {"parameters": 7.0}

    knowledge = NetworkKnowledge(CELLS, refuse)
    assert knowledge.canonical(cell(S, S, S, S, S, S)) == INFEASIBLE_FORM
    able = cell(C1, S, S, S, S, S)
    assert knowledge.canonical(able) != INFEASIBLE_FORM
    assert knowledge.metrics(able) == {"parameters": 7.0}
    assert knowledge.scores(able) == {"parameters": 7.0, "depth": 1.0}


def test_features_are_counts_and_subtrees_of_length_one() -> None:
    paths, subtrees, counts = known(CELLS).features(drawn(20))
    assert len(paths) == len(subtrees) == len(counts) == 20
    assert np.array_equal(paths, paths.round())
    lengths = np.linalg.norm(subtrees, axis=1)
    assert all(abs(one - 1) < 1e-12 or one == 0 for one in lengths)
    assert paths.sum(1).max() == 4  # the ways through a full cell, each counted


CODE = """
import sys; sys.path.insert(0, {here!r})
import hashlib
from test_knowledge import *
print(hashlib.sha256(b"".join(g.tobytes() for g in known(CELLS).features(drawn(30)))).hexdigest())
"""


def test_features_are_the_same_in_another_process_and_at_another_call() -> None:
    import hashlib

    def digest(knowledge: NetworkKnowledge) -> str:
        found = knowledge.features(drawn(30))
        return hashlib.sha256(b"".join(group.tobytes() for group in found)).hexdigest()

    knowledge = known(CELLS)
    first = digest(knowledge)
    assert first == digest(knowledge) == digest(known(CELLS))
    code = CODE.format(here=str(Path(__file__).parent))
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == first


def test_features_do_not_depend_on_the_names_of_nodes() -> None:
    def space(names: tuple[str, str, str]) -> Space[Any]:
        a, b, out = names
        kinds: Any = OneOf({"conv": Conv(), "pool": Pool(), "skip": Skip()}, name="k")
        return Space(
            Graph({a: Node({"in": kinds}), b: Node({a: Conv()}), out: Node({b: Skip(), a: Pool()})})
        )

    one, other = space(("x", "y", "z")), space(("z9", "a", "m"))
    for ours, theirs in zip(
        known(one).features([*one]), known(other).features([*other]), strict=True
    ):
        assert np.array_equal(ours, theirs)
    assert [known(one).canonical(c) for c in one] == [known(other).canonical(c) for c in other]


def test_feature_groups_do_not_depend_on_candidates() -> None:
    """Also where those asked about have nothing in one of them."""
    plain: Any = Conv(OneOf(8, 16))
    space: Space[Any] = Space((OneOf({"cell": nas_bench_201_cell(), "plain": plain}), GlobalPool()))
    knowledge = known(space)
    for some in (
        [one for one in drawn(20, space) if one.values["0"] == kind] for kind in ("cell", "plain")
    ):
        assert some
        assert len(knowledge.features(some)) == 3
    assert len(knowledge.features(drawn(20, space))) == 3
    assert len(known(CELLS).features([cell(*[N] * 6)])) == 3


def test_a_space_without_networks_has_forms_and_no_features() -> None:
    space: Space[Any] = Space({"x": Integer(0, 9), "rate": Float(0.0, 1.0)})
    knowledge = known(space)
    some = drawn(10, space)
    assert list(knowledge.features(some)) == []
    assert len({knowledge.canonical(one) for one in some}) == len(set(some)) == 10
    assert INFEASIBLE_FORM not in {knowledge.canonical(one) for one in some}


NET = (Conv(OneOf(4, 8)), Conv(OneOf(8, 12), stride=2), GlobalPool(), Linear())
PLAIN: Space[Any] = Space(Training(NET, lr=0.02, batch_size=8, epochs=OneOf(1, 2)))


def test_known_costs_equal_evaluated_costs(image_task: Task, tmp_path: Path) -> None:
    evaluator = NetworkCosts(PLAIN, image_task)
    knowledge = evaluator.capabilities.knowledge
    for candidate in PLAIN:
        said = evaluator(Job(Proposal(candidate), 0, tmp_path))
        assert knowledge.metrics(candidate) == said
        assert set(said) == set(evaluator.metrics)
        sizes = {name: said[name] for name in ("parameters", "flops")}
        assert knowledge.scores(candidate) == sizes | {"depth": 3.0}


def test_the_size_is_one_of_the_features(image_task: Task) -> None:
    knowledge = NetworkCosts(PLAIN, image_task).knowledge
    some = [*PLAIN]
    *_, counts = knowledge.features(some)
    size = np.log2([1 + knowledge.metrics(one)["parameters"] for one in some])
    assert any(np.array_equal(column, size) for column in counts.T)


def test_recipe_is_in_canonical_form_but_not_in_features(image_task: Task) -> None:
    knowledge = NetworkCosts(PLAIN, image_task).knowledge
    one, other = (PLAIN.fix({"epochs": epochs}).default() for epochs in (1, 2))
    assert knowledge.canonical(one) != knowledge.canonical(other)
    for group in knowledge.features([one, other]):
        assert np.array_equal(group[0], group[1])


def test_knowledge_is_cached() -> None:
    asked: list[Candidate] = []

    def count(candidate: Candidate, description: Any) -> Metrics:
        asked.append(candidate)
        return {}

    knowledge = NetworkKnowledge(CELLS, count)
    some = drawn(5)
    for _ in range(3):
        knowledge.features(some)
        [knowledge.canonical(one) for one in some]
    assert asked == some


# Tables


def table(folder: Path, more: Mapping[str, Any] | None = None, **options: Any) -> TableBenchmark:
    """A row for each of three options; none for those of `more`."""
    more = more or {}
    rows = ["op,accuracy,params,hint"]
    rows += [f"{i},{0.5 + i / 10},{10 * i + 1},{i}" for i in range(3)]
    (folder / "t.csv").write_text("\n".join(rows))
    space: Space[Any] = Space(
        (OneOf({"a": Conv(4), "b": Conv(8), "c": Skip(), **more}), GlobalPool())
    )
    metrics = {
        name: MetricColumns.of(column)
        for name, column in (("accuracy", "accuracy"), ("parameters", "params"))
    }
    decisions: Mapping[str, DecisionColumn] = {"0": DecisionColumn("op", ("a", "b", "c"))}
    return TableBenchmark(space, folder / "t.csv", decisions, {1.0: metrics}, **options)


def of(option: Value) -> Candidate:
    return Candidate({"0": option})


def test_table_knowledge_has_costs_only(tmp_path: Path) -> None:
    knowledge = table(tmp_path, costs=("parameters",)).capabilities.knowledge
    assert knowledge.metrics(of("b")) == {"parameters": 11.0}
    assert table(tmp_path).capabilities.knowledge.metrics(of("b")) == {}


def test_a_cell_without_a_row_that_cannot_be_built_is_infeasible(tmp_path: Path) -> None:
    dead = Graph({"out": Node({"in": Zero()})})
    knowledge = table(tmp_path, {"dead": dead}, costs=("parameters",)).capabilities.knowledge
    assert knowledge.canonical(of("dead")) == INFEASIBLE_FORM
    assert knowledge.metrics(of("a")) == {"parameters": 1.0}


def test_costs_with_gaps_are_refused_since_they_would_tell_what_the_table_lacks(
    tmp_path: Path,
) -> None:
    knowledge = table(tmp_path, {"d": Pool()}, costs=("parameters",)).capabilities.knowledge
    for option in ("a", "d"):
        with pytest.raises(InputError, match=r"columns that every candidate has.*none of 0='d'"):
            knowledge.canonical(of(option))
    measured = table(tmp_path, {"d": Pool()}).capabilities.knowledge
    assert measured.canonical(of("d")) != INFEASIBLE_FORM
    assert measured.metrics(of("a")) == {}


def test_costs_may_be_a_function_of_the_candidate(tmp_path: Path) -> None:
    def layers(candidate: Candidate, network: Any) -> Metrics:
        return {"layers": float(len(network))}

    knowledge = table(tmp_path, {"d": Pool()}, costs=layers).capabilities.knowledge
    assert knowledge.metrics(of("d")) == {"layers": 2.0}
    with pytest.raises(InputError, match="a function where several candidates share a row"):
        table(tmp_path, costs=("parameters",), identify=lambda candidate: {"0": "a"})


def test_candidates_that_share_a_row_are_the_same(tmp_path: Path) -> None:
    def first_letter(candidate: Candidate) -> Mapping[str, Value]:
        return {"0": "a" if candidate.values["0"] in ("a", "b") else candidate.values["0"]}

    knowledge = table(tmp_path, identify=first_letter).capabilities.knowledge
    assert knowledge.canonical(of("a")) == knowledge.canonical(of("b"))
    assert knowledge.canonical(of("a")) != knowledge.canonical(of("c"))


def test_prior_scores_are_scores_but_not_costs(tmp_path: Path) -> None:
    def sizes(network: Any) -> Metrics:
        return {"size": float(len(network))}

    knowledge = table(
        tmp_path, costs=("parameters",), compute_prior_scores=sizes
    ).capabilities.knowledge
    assert knowledge.scores(of("a")) == {"size": 2.0, "depth": 1.0}
    assert knowledge.metrics(of("a")) == {"parameters": 1.0}


def test_costs_that_the_table_does_not_have_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"costs must be metrics of the table, got \['flops'\]"):
        table(tmp_path, costs=("parameters", "flops"))


def test_knowledge_is_not_pickled_with_a_table(tmp_path: Path) -> None:
    benchmark = table(tmp_path, costs=("parameters",))
    knowledge = benchmark.capabilities.knowledge
    knowledge.features([of("a"), of("b")])
    assert b"Knowledge" not in pickle.dumps(benchmark)
    assert benchmark.capabilities.knowledge is not knowledge
    assert pickle.loads(pickle.dumps(benchmark)).capabilities.knowledge.metrics(of("b")) == {
        "parameters": 11.0
    }


def test_networks_of_nas_bench_201_are_known_by_their_cells() -> None:
    """Fifteen copies of a cell count once: the features are those of the cell, and of the row."""
    whole: Space[Any] = Space(nas_bench_201())
    some = drawn(12)
    full = [Candidate({f"cell.{path}": v for path, v in one.values.items()}) for one in some]
    paths, whole_paths = known(CELLS).features(some)[0], known(whole).features(full)[0]
    gram, whole_gram = paths @ paths.T, whole_paths @ whole_paths.T
    assert np.array_equal(gram, whole_gram)
