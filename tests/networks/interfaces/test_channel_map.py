import pytest
import torch

from netwright.networks.interfaces.channel_map import (
    NEW,
    ChannelMap,
    is_replica,
    pad_kernel,
    preserves_group_statistics,
    remap_kernel,
    replicate_channels,
    shift_origins,
)


@pytest.mark.parametrize(("n_parent", "n_child"), [(4, 4), (4, 5), (4, 8), (3, 11), (6, 13)])
def test_channels_are_replicated_equally_often_up_to_one(n_parent: int, n_child: int) -> None:
    origin = replicate_channels(n_parent, n_child, seed=1)
    counts = torch.bincount(origin, minlength=n_parent)
    assert len(origin) == n_child
    assert counts.min() >= 1
    assert counts.max() - counts.min() <= 1
    assert torch.equal(origin, origin.sort().values)  # groups stay together


def test_replicas_depend_on_seed_and_widths_alone() -> None:
    draws = {tuple(replicate_channels(8, 12, seed).tolist()) for seed in range(20)}
    assert len(draws) > 5
    assert torch.equal(replicate_channels(8, 12, 3), replicate_channels(8, 12, 3))


def test_weights_of_replicas_are_divided_by_their_number() -> None:
    kernel = torch.tensor([[2.0, 6.0]])[:, :, None, None]  # (1, 2, 1, 1)
    input_origin = torch.tensor([0, 1, 1, 1, NEW])
    remapped = remap_kernel(
        kernel, 1, input_origin, torch.tensor([0, NEW]), group_width=5, child_groups=1
    )
    assert remapped.weight[0, :, 0, 0].tolist() == [2, 2, 2, 2, 0]
    assert remapped.inherited.tolist() == [True, False]
    assert remapped.exact


def test_depthwise_convolution_reads_its_own_replica() -> None:
    kernel = torch.tensor([2.0, 6.0])[:, None, None, None]  # (2, 1, 1, 1)
    origin = torch.tensor([0, 1, 1])
    remapped = remap_kernel(kernel, 2, origin, origin, group_width=1, child_groups=3)
    assert remapped.weight.flatten().tolist() == [2, 6, 6]
    assert remapped.exact


def test_groups_that_read_fewer_channels_are_not_exact() -> None:
    kernel = torch.ones(2, 2, 1, 1)  # ungrouped: each reads both
    origin = torch.arange(2)
    assert not remap_kernel(kernel, 1, origin, origin, group_width=1, child_groups=2).exact
    assert remap_kernel(kernel, 1, origin, origin, group_width=2, child_groups=1).exact


def test_group_statistics_survive_equally_frequent_channels_only() -> None:
    def preserves(origin: list[int], parent_groups: int = 1, child_groups: int = 1) -> bool:
        return preserves_group_statistics(torch.tensor(origin), 4, parent_groups, child_groups)

    assert preserves([0, 1, 2, 3])
    assert preserves([0, 0, 1, 1, 2, 2, 3, 3])
    assert not preserves([0, 0, 1, 2, 3])
    assert not preserves([0, 1, 2])
    assert not preserves([0, 1, 2, 3, NEW])
    assert preserves([0, 1, 0, 1, 2, 3, 2, 3], parent_groups=2, child_groups=2)
    assert not preserves([0, 1, 2, 3], parent_groups=1, child_groups=2)
    assert not preserves([0, 2, 1, 3], parent_groups=2, child_groups=2)


def test_kernel_is_padded_with_zeros_or_cropped() -> None:
    kernel = torch.arange(9.0).view(1, 1, 3, 3)
    larger = pad_kernel(kernel, 5, 1)
    assert larger.shape == (1, 1, 5, 5)
    assert torch.equal(larger[..., 1:4, 1:4], kernel)
    assert larger.sum() == kernel.sum()
    assert pad_kernel(kernel, 1, -1).item() == 4


def test_replicas_are_those_after_the_first() -> None:
    origin = torch.tensor([0, 1, 1, NEW, NEW, 0])
    assert is_replica(origin).tolist() == [False, False, True, False, False, True]


def test_new_channels_stay_new_when_shifted() -> None:
    assert shift_origins(torch.tensor([0, NEW, 2]), 4).tolist() == [4, NEW, 6]


def test_channel_map_is_complete_with_every_parent_channel() -> None:
    def channel_map(*origin: int) -> ChannelMap:
        return ChannelMap((3, 8, 8), (len(origin), 8, 8), torch.tensor(origin))

    assert channel_map(0, 1, 2).is_identity
    assert not channel_map(1, 0, 2).is_identity
    assert channel_map(2, 1, 0, NEW).is_complete
    assert not channel_map(0, 1, 1, NEW).is_complete
