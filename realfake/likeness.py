"""What is measured of a study's pools beside its trials, as a chain of specs: a ``Fidelity`` for each.

    study = Study(name="digits", trials=trials, fidelities=fidelities(trials, classifier=trials[0]))

Nothing but specs; what is measured is in ``fidelity``. Standard library only.
"""

from collections.abc import Iterable

from realfake.spec import Fidelity, Pool, Subset, Trial, real_of

IMAGES = 2048  # of a pool, unless asked otherwise


def fidelities(
    trials: Iterable[Trial],
    *,
    images: int = IMAGES,
    space: str | Trial = "pixels",
    classifier: Trial | None = None,
    seed: int = 0,
) -> tuple[Fidelity, ...]:
    """Return a ``Fidelity`` of every pool that the trials use, of at most so many ``images`` and no more than they use.

    Real images are those that the generator was fitted on, or where it saw none those of the largest trial that uses
    the pool; a pool without either is left out.
    """
    sizes: dict[Pool, int] = {}
    beside: dict[Pool, Subset] = {}
    for trial in sorted(trials, key=lambda trial: trial.n_real):
        for part in trial.synthetic:
            assert isinstance(part.of, Pool)  # of a trial that could be written
            sizes[part.of] = max(sizes.get(part.of, 0), part.size)
            if real := real_of(part.of.generator) or trial.real:
                beside[part.of] = real
    settings = {"space": space, "classifier": classifier, "seed": seed}
    return tuple(
        Fidelity(of=Subset(of=pool, size=min(sizes[pool], images)), real=real, **settings)
        for pool, real in beside.items()
    )
