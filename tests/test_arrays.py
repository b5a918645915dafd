from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from workbench.arrays import Arrays, broadcast, first_true, in_blocks, join, spread, take
from workbench.errors import InputError


@dataclass(frozen=True, repr=False)
class Part(Arrays):
    share: Any


@dataclass(frozen=True, repr=False)
class Trip(Arrays):
    km: Any
    hours: Any
    part: Part
    legs: dict[str, Any]

    @property
    def speed(self):
        return self.km / self.hours


def trip(km, hours):
    return Trip(km, hours, Part(hours / 24), {"first": km / 2, "pairs": [(km, 1.0)]})


def test_repr_is_short():
    text = repr(trip(np.arange(5.0), 2.0))
    assert text == "Trip(km=0 to 4 (5,), hours=2, part=Part(share=0.0833333), legs={first: 0 to 2 (5,), pairs: [(0 to 4 (5,), 1)]})"


def test_frame_has_a_row_an_entry():
    frame = trip(np.arange(3.0), np.array([[1.0], [2.0]])).frame()
    assert frame.columns == ["km", "hours"]
    assert frame.rows()[3:5] == [(0.0, 2.0), (1.0, 2.0)]


def test_rows_are_picked_everywhere():
    trips = trip(np.arange(4.0), np.arange(1.0, 5.0))
    two = take(trips, np.array([3, 1]))
    assert (two.speed.tolist(), two.part.share.tolist()) == ([0.75, 0.5], [4 / 24, 2 / 24])
    assert two.legs["first"].tolist() == [1.5, 0.5]
    assert two.legs["pairs"][0][0].tolist() == [3, 1]


def test_joined_records_repeat_what_does_not_vary():
    joined = join([trip(np.arange(2.0), 1.0), trip(5.0, np.full(3, 2.0))], [2, 3])
    assert joined.km.tolist() == [0, 1, 5, 5, 5]
    assert joined.hours.tolist() == [1, 1, 2, 2, 2]


def test_blocks_give_what_the_whole_gives():
    km, hours = np.arange(10.0)[:, None], np.arange(1.0, 4.0)
    whole = trip(km, hours)
    blocks = in_blocks(lambda km, hours: trip(*np.broadcast_arrays(km, hours)), 3, (10, 3), km=km, hours=hours)
    np.testing.assert_array_equal(blocks.speed, whole.speed)


def test_what_does_not_broadcast_is_named():
    with pytest.raises(InputError, match=r"^a of shape \(2,\) and c of shape \(3,\) do not broadcast$"):
        broadcast(a=np.ones(2), b=1.0, c=np.ones(3))


def test_the_first_test_that_holds_is_named():
    assert first_true([np.array([False, True, False]), np.array([[True], [False]])]).tolist() == [[2, 1, 2], [0, 1, 0]]
    assert first_true([False, True]) == 2


def test_a_record_is_spread_over_a_shape():
    wide = spread({"a": 1.0, "b": np.arange(3.0)}, (2, 3))
    assert {name: value.tolist() for name, value in wide.items()} == {"a": [[1.0] * 3] * 2, "b": [[0.0, 1.0, 2.0]] * 2}


def test_a_record_shows_its_fields_with_their_units():
    from IPython.lib.pretty import pretty

    from workbench import fabric

    shown = pretty(fabric.collective_time("all-reduce", 1e9, fabric.Cluster("H100", 8))).splitlines()
    assert shown[0] == "CollectiveTime"
    assert [line.split()[0] for line in shown[1:]] == ["seconds", "low", "high", "algbw", "busbw"]
    assert shown[1].endswith("[s]")
    assert shown[5].endswith("algbw times the factor of nccl-tests [B/s]")
