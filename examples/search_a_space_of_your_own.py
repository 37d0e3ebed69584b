"""The research layer: your own space and your own strategy, in one study that resumes."""

import sys
import tempfile

import netwright as nw

TRIALS = int(sys.argv[1]) if len(sys.argv) > 1 else 6

net = (
    nw.Conv(nw.OneOf(8, 16), kernel=nw.OneOf(3, 5)),
    nw.Repeat(nw.OneOf(nw.MBConv(), nw.Residual(nw.Conv()), nw.Skip()), times=nw.Integer(1, 3)),
    nw.GlobalPool(),
    nw.Linear(),
)
space = nw.Space(nw.Training(net, lr=nw.Float(1e-3, 1e-2, log=True), epochs=3))
print(f"{len(space.decisions)} decisions")


class SmallStepsFromTheBest:
    """A strategy is two functions: this one mutates the best candidate so far."""

    def __init__(self, problem):
        self.space, self.objective, self.best = problem.space, problem.objectives[0], None

    def ask(self, n, rng):
        if self.best is None:
            return [nw.Proposal(self.space.sample(rng), origin="random") for _ in range(n)]
        child = self.space.mutate(self.best.candidate, rng)
        return [nw.Proposal(child, origin="mutation", parents=(self.best.id,))]

    def tell(self, trial):
        if trial.status == "done" and (
            self.best is None
            or self.objective.loss(trial.metrics) < self.objective.loss(self.best.metrics)
        ):
            self.best = trial


with tempfile.TemporaryDirectory() as folder:
    study = nw.Study(
        space,
        task=nw.task("digits"),
        strategy=SmallStepsFromTheBest,
        objectives=["accuracy", "parameters"],
        run=folder + "/run",
        workers=2,
    )
    study.run(trials=TRIALS)
    for trial in study.front:
        accuracy, parameters = trial.metrics["accuracy"], trial.metrics["parameters"]
        print(f"trial {trial.id}: accuracy {accuracy:.3f}, {parameters:,.0f} parameters")
    study.close()
