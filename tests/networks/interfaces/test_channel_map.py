import pytest
import torch

from netwright.networks.interfaces.channel_map import (
    NEW,
    ChannelMap,
    keeps_statistics,
    read,
    repeated,
    replicated,
    resized,
    shifted,
)


@pytest.mark.parametrize(("old", "new"), [(4, 4), (4, 5), (4, 8), (3, 11), (6, 13)])
def test_every_channel_is_replicated_and_none_twice_more_than_another(old: int, new: int) -> None:
    origin = replicated(old, new, seed=1)
    counts = torch.bincount(origin, minlength=old)
    assert len(origin) == new
    assert counts.min() >= 1
    assert counts.max() - counts.min() <= 1
    assert torch.equal(origin, origin.sort().values)  # groups stay together


def test_the_seed_and_the_widths_alone_draw_replicas() -> None:
    draws = {tuple(replicated(8, 12, seed).tolist()) for seed in range(20)}
    assert len(draws) > 5
    assert torch.equal(replicated(8, 12, 3), replicated(8, 12, 3))


def test_what_reads_replicas_divides_by_their_number() -> None:
    kernel = torch.tensor([[2.0, 6.0]])[:, :, None, None]  # (1, 2, 1, 1)
    into = torch.tensor([0, 1, 1, 1, NEW])
    found = read(kernel, 1, into, torch.tensor([0, NEW]), columns=5, groups_new=1)
    assert found.weight[0, :, 0, 0].tolist() == [2, 2, 2, 2, 0]
    assert found.known.tolist() == [True, False]
    assert found.exact


def test_a_depthwise_convolution_reads_its_own_replica() -> None:
    kernel = torch.tensor([2.0, 6.0])[:, None, None, None]  # (2, 1, 1, 1)
    origin = torch.tensor([0, 1, 1])
    found = read(kernel, 2, origin, origin, columns=1, groups_new=3)
    assert found.weight.flatten().tolist() == [2, 6, 6]
    assert found.exact


def test_groups_that_hold_less_than_before_are_not_exact() -> None:
    kernel = torch.ones(2, 2, 1, 1)  # ungrouped: each reads both
    both = torch.arange(2)
    assert not read(kernel, 1, both, both, columns=1, groups_new=2).exact
    assert read(kernel, 1, both, both, columns=2, groups_new=1).exact


def test_statistics_are_kept_where_each_channel_of_a_group_is_there_equally_often() -> None:
    def keeps(origin: list[int], groups: int = 1, groups_new: int = 1) -> bool:
        return keeps_statistics(torch.tensor(origin), 4, groups, groups_new)

    assert keeps([0, 1, 2, 3])
    assert keeps([0, 0, 1, 1, 2, 2, 3, 3])
    assert not keeps([0, 0, 1, 2, 3])
    assert not keeps([0, 1, 2])
    assert not keeps([0, 1, 2, 3, NEW])
    assert keeps([0, 1, 0, 1, 2, 3, 2, 3], groups=2, groups_new=2)
    assert not keeps([0, 1, 2, 3], groups=1, groups_new=2)
    assert not keeps([0, 2, 1, 3], groups=2, groups_new=2)


def test_a_kernel_gets_zeros_around_it_or_loses_its_rim() -> None:
    kernel = torch.arange(9.0).view(1, 1, 3, 3)
    larger = resized(kernel, 5, 1)
    assert larger.shape == (1, 1, 5, 5)
    assert torch.equal(larger[..., 1:4, 1:4], kernel)
    assert larger.sum() == kernel.sum()
    assert resized(kernel, 1, -1).item() == 4


def test_repeated_are_those_after_the_first() -> None:
    assert repeated(torch.tensor([0, 1, 1, NEW, NEW, 0])).tolist() == [
        False, False, True, False, False, True,
    ]  # fmt: skip


def test_new_channels_stay_new_when_they_are_moved() -> None:
    assert shifted(torch.tensor([0, NEW, 2]), 4).tolist() == [4, NEW, 6]


def test_a_flow_is_whole_when_every_channel_of_the_parent_is_there() -> None:
    def flow(*origin: int) -> ChannelMap:
        return ChannelMap((3, 8, 8), (len(origin), 8, 8), torch.tensor(origin))

    assert flow(0, 1, 2).is_identity
    assert not flow(1, 0, 2).is_identity
    assert flow(2, 1, 0, NEW).is_complete
    assert not flow(0, 1, 1, NEW).is_complete
