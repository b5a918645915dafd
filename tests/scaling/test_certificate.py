from dataclasses import replace

import pytest

from workbench import scaling
from workbench.errors import InputError


def test_a_good_fit_is_certified_and_a_poor_one_is_not(runs, truth):
    points = runs(truth, noise=0.01)
    best = scaling.fit(*points)
    seal = scaling.certify(*points, best, nodes=48)
    assert seal.holds
    assert seal.best_node >= best.objective
    assert seal.lower_bound > best.objective
    poor = replace(best, alpha=best.alpha + 0.2, objective=best.objective * 3)
    assert not scaling.certify(*points, poor, nodes=48).holds


def test_the_chinchilla_fit_is_the_only_one_in_the_box(chinchilla):
    seal = scaling.certify(*chinchilla, scaling.fit(*chinchilla))
    assert seal.holds
    assert seal.region < 0.02  # in either exponent


def test_most_conventional_starts_miss(chinchilla):
    # .085 of the paper's 4,500 starts arrive with scipy's default tolerances
    missed = scaling.missed_starts(*chinchilla, scaling.fit(*chinchilla))
    assert 1 - missed == pytest.approx(0.085, abs=0.03)


def test_bad_boxes_are_refused(runs, truth):
    points = runs(truth, noise=0.01)
    best = scaling.fit(*points)
    with pytest.raises(InputError, match="outside the box"):
        scaling.certify(*points, best, alpha=(0.5, 1.0))
    with pytest.raises(InputError, match="expected 0 < low < high"):
        scaling.certify(*points, best, beta=(0.5, 0.1))
    with pytest.raises(InputError, match="noise = 'lad'"):
        scaling.certify(*points, scaling.fit(*points, noise="lad"))
