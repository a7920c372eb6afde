"""The plan of a mix of tensor types, and the files that are tried until one is as planned."""

import itertools
import math

import numpy as np
import pytest

from jlocal.errors import ArgumentError
from jlocal_convert.quantization.mix.assignment import Choice, best, for_loss, for_size, smallest
from jlocal_convert.quantization.mix.targets import Trial, Trials


def every_mix(choices):
    for row in itertools.product(*choices.values()):
        yield sum(c.size for c in row), math.fsum(c.loss for c in row)


def random_choices(random, matrices, unit):
    return {
        f"m{number}": [
            Choice(f"T{kind}", unit * int(random.integers(1, 40)), float(random.random()))
            for kind in range(random.integers(1, 5))
        ]
        for number in range(matrices)
    }


def check_mix(mix, choices):
    """What a mix says of itself is true."""
    chosen = [
        next(c for c in row if c.tensor_type == mix.tensor_types[name])
        for name, row in choices.items()
    ]
    assert list(mix.tensor_types) == list(choices)
    assert mix.size == sum(c.size for c in chosen)
    assert mix.loss == math.fsum(c.loss for c in chosen)


@pytest.mark.parametrize("seed", range(40))
def test_plan_is_the_best_of_all(seed):
    """Also where a larger type loses more, and where some types are worth nothing."""
    random = np.random.default_rng(seed)
    choices = random_choices(random, matrices=int(random.integers(1, 6)), unit=32)
    mixes = list(every_mix(choices))
    lowest, highest = min(mixes)[0], max(mixes)[0]
    for limit in {lowest, highest, *random.integers(lowest, highest + 32, 8).tolist()}:
        mix = for_size(choices, limit)
        check_mix(mix, choices)
        assert mix.size <= limit
        assert mix.loss == pytest.approx(min(loss for size, loss in mixes if size <= limit))
    assert for_size(choices, lowest - 1) is None
    losses = [loss for _, loss in mixes]
    for limit in (max(losses), *random.uniform(min(losses), max(losses), 8)):
        mix = for_loss(choices, limit)
        check_mix(mix, choices)
        assert mix.loss <= limit + 1e-12
        assert mix.size == min(size for size, loss in mixes if loss <= limit)
    assert for_loss(choices, min(losses) - 1e-9) is None
    assert smallest(choices).size == lowest
    assert best(choices).loss == pytest.approx(min(losses))


def test_plan_with_sizes_that_have_no_common_divisor():
    """The table is rounded then; what it finds fits all the same, and is nearly the best."""
    random = np.random.default_rng(1)
    choices = {
        f"m{number}": [
            Choice(str(kind), int(random.integers(10**6, 10**7)), float(random.random()))
            for kind in range(4)
        ]
        for number in range(6)
    }
    mixes = list(every_mix(choices))
    lowest = min(mixes)[0]
    for limit in (lowest, lowest + 3_000_001, lowest + 12_345_678):
        mix = for_size(choices, limit)
        check_mix(mix, choices)
        assert mix.size <= limit
        assert mix.loss <= min(loss for size, loss in mixes if size <= max(lowest, limit * 0.9999))
    limit = best(choices).loss + 0.5
    mix = for_loss(choices, limit)
    assert mix.loss <= limit
    assert mix.size <= 1.0001 * min(size for size, loss in mixes if loss <= limit)


def test_plan_of_many_matrices():
    """As many as a large model has; more bytes never lose more."""
    random = np.random.default_rng(2)
    choices = random_choices(random, matrices=400, unit=4096)
    low, high = smallest(choices).size, best(choices).size
    mixes = [for_size(choices, limit) for limit in np.linspace(low, high, 9).astype(int).tolist()]
    assert [m.loss for m in mixes] == sorted((m.loss for m in mixes), reverse=True)
    assert mixes[-1].loss == pytest.approx(best(choices).loss)
    assert for_loss(choices, mixes[4].loss * (1 + 1e-12)).size <= mixes[4].size


# Trials


def trials(loss_of, choices):
    """A model whose files lose otherwise than planned; notes what was kept."""
    written, kept = [], []

    def attempt(mix):
        written.append(Trial(mix, mix.size + 100, np.array([loss_of(mix.loss)])))
        return written[-1]

    return Trials(choices, attempt, lambda: kept.append(written[-1])), written, kept


LADDER = {f"m{n}": [Choice(str(b), 32 * b, 4.0**-b) for b in range(1, 17)] for n in range(20)}


@pytest.mark.parametrize(
    "loss_of",
    [lambda loss: loss, lambda loss: 1.4 * loss, lambda loss: 0.7 * loss, lambda loss: loss + 2e-3],
    ids=["as planned", "more", "less", "more by a constant"],
)
@pytest.mark.parametrize("limit", [0.5, 0.05, 0.005])
def test_loss_is_kept_with_nearly_the_smallest_file(loss_of, limit):
    made, written, kept = trials(loss_of, LADDER)
    trial = made.of_loss(limit)
    assert kept[-1] is trial
    assert trial.loss <= limit
    assert len(written) <= 8
    smaller = for_size(LADDER, int(trial.mix.size * 0.97))
    assert loss_of(smaller.loss) > limit


def test_loss_that_nothing_keeps():
    made, _, kept = trials(lambda loss: loss + 0.1, LADDER)
    with pytest.raises(ArgumentError, match=r"keeps a mean cosine of 0\.95; the best.*0\.900000"):
        made.of_loss(0.05)
    assert not kept


def test_loss_that_everything_keeps():
    made, _, kept = trials(lambda loss: loss / 100, LADDER)
    assert made.of_loss(0.9).mix.size == smallest(LADDER).size
    assert kept[-1].mix.size == smallest(LADDER).size


def test_size_counts_what_is_not_chosen():
    made, _, kept = trials(lambda loss: loss, LADDER)
    trial = made.of_size(5000, rest=100)
    assert kept == [trial]
    assert trial.size <= 5000
    made, written, _ = trials(lambda loss: loss, LADDER)
    # The rest was underestimated: a second file makes it good.
    assert made.of_size(5000, rest=-2000).size <= 5000
    assert len(written) == 2
    with pytest.raises(ArgumentError, match=r"the smallest takes 0\.00 MB"):
        made.of_size(700, rest=0)
