"""A supernet proposes, short trainings decide: architecture by gradient, on the built-in digits.

    python examples/search_with_shared_weights.py [SECONDS]

The same description could be searched by any other strategy: only one line would change.
"""

import sys

import netwright as nw


def main(seconds: float) -> None:
    block = nw.OneOf(
        {
            "conv": nw.Residual(nw.Conv()),
            "wide": nw.MBConv(expand=nw.OneOf(2, 4)),
            "skip": nw.Skip(),
        }
    )
    network = (
        nw.Conv(16),
        nw.Repeat(block, times=2),
        nw.Conv(32, stride=2),
        nw.Repeat(block, times=2),
        nw.GlobalPool(),
        nw.Linear(),
    )
    space = nw.Space(nw.Training(network, lr=nw.Float(1e-3, 1e-1, log=True), epochs=8))
    supernet = nw.DifferentiableNAS(
        nw.DrNAS(),
        epochs=8,
        safeguards=nw.SupernetSafeguards(n_ranking_networks=4, ranking_epochs=1),
    )
    study = nw.Study(
        space,
        task=nw.task("digits"),
        strategy=nw.OneShot(supernet, n_candidates=3),
        objectives=["accuracy"],
    )
    study.run(seconds=max(seconds, 20.0))
    for line in study.strategy.preparation.report():
        print(line)
    for trial in study.trials:
        name = trial.proposal.origin
        print(f"{trial.id:3}  {name:10}  {trial.metrics.get('accuracy', float('nan')):.4f}")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0)
