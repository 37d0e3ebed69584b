"""Batches of shared-weight training know their rows, and pass them to augmentations."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from oneshot_tools import stripes
from torch import Tensor

from netwright.networks.layers.basic import GlobalPool, Skip
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.networks.training.augmentation.batch_context import BatchContext
from netwright.networks.training.labelled_data import LabelledData
from netwright.oneshot.epoch_trainer import BatchTransform, shuffled_batches
from netwright.oneshot.gradient.relaxations import DARTS
from netwright.oneshot.gradient.search import GradientSearch, split_in_halves
from netwright.oneshot.gradient.settings import DifferentiableNAS
from netwright.oneshot.gradient.supernet import Supernet
from netwright.oneshot.safeguards import NO_SAFEGUARDS
from netwright.oneshot.single_path.training import SampledPathTraining, SharedWeightsTrainer
from netwright.oneshot.weight_sharing.elastic_supernet import SharedWeights
from netwright.space.choices import OneOf
from netwright.space.space import Space

NETWORK = (Conv(4), OneOf({"conv": Conv(), "skip": Skip()}), GlobalPool("max"), Linear())
SPACE = Space({"network": NETWORK})


@dataclass(frozen=True)
class RecordingAugmentation:
    seen: list[tuple[Tensor, BatchContext]] = field(default_factory=list, hash=False)

    def __call__(self, images: Tensor, batch: BatchContext) -> Tensor:
        self.seen.append((images.clone(), batch))
        return images + 1


def test_shuffled_batches_know_their_rows() -> None:
    rows = stripes(50)
    batches = shuffled_batches(rows, 4, torch.Generator().manual_seed(0))
    order = torch.cat([batch.rows for batch in batches])
    assert sorted(order.tolist()) == list(range(50))
    assert order.tolist() != list(range(50))
    for batch in batches:
        assert torch.equal(batch.labelled.inputs, rows.inputs[batch.rows])
        assert torch.equal(batch.labelled.targets, rows.targets[batch.rows])


def test_transform_augments_only_with_a_context() -> None:
    rows, cpu = stripes(8), torch.device("cpu")
    transform = BatchTransform((RecordingAugmentation(), RecordingAugmentation()))
    context = BatchContext(torch.Generator(), torch.arange(8), 0)
    assert torch.equal(transform(rows, cpu).inputs, rows.inputs)
    assert torch.equal(transform(rows, cpu, context).inputs, rows.inputs + 1 + 1)


def check_rows_and_epochs(
    augmentation: RecordingAugmentation, sets: list[LabelledData], n_epochs: int
) -> None:
    """Every epoch augments every row of the sets, which take turns, under its own index."""
    for epoch in range(n_epochs):
        seen = [(images, batch) for images, batch in augmentation.seen if batch.epoch == epoch]
        for i, rows in enumerate(sets):
            batches = seen[i :: len(sets)]
            order = torch.cat([batch.rows for _, batch in batches])
            assert sorted(order.tolist()) == list(range(len(rows)))
            for images, batch in batches:
                assert torch.equal(images, rows.inputs[batch.rows])


def test_single_path_training_passes_rows_and_epochs() -> None:
    augmentation, rows = RecordingAugmentation(), stripes(48)
    trainer = SharedWeightsTrainer(
        SPACE,
        SharedWeights(NETWORK, (1, 6, 6), outputs=2),
        rows,
        SampledPathTraining(epochs=3, batch_size=16),
        transform=BatchTransform((augmentation,)),
    )
    trainer.train_to(3)
    check_rows_and_epochs(augmentation, [rows], 3)


def test_gradient_search_passes_rows_and_epochs_of_both_halves() -> None:
    augmentation, split = RecordingAugmentation(), split_in_halves(stripes(64), 0)
    search = GradientSearch(
        SPACE,
        Supernet(NETWORK, (1, 6, 6), outputs=2),
        split,
        DifferentiableNAS(DARTS(), epochs=2, batch_size=16, safeguards=NO_SAFEGUARDS),
        transform=BatchTransform((augmentation,)),
    )
    search.train_to(2)
    check_rows_and_epochs(augmentation, [split.train, split.valid], 2)
