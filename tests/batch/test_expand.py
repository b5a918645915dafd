"""Grids, lists and samples become parameter sets; whatever does not fit the notebook is named before anything runs."""

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import batch
from workbench.batch import expand
from workbench.errors import InputError
from workbench.notebook.parameters import Parameter, ParameterError

WORDS = Parameter("words", "str", False, "", "-", "any words")


def sets(*args, **kwargs):
    return list(batch.plan(*args, **kwargs).sets.values())


def quoted(text):
    return '"' + text.replace('"', '""') + '"'


def test_lists_run_each_with_each_in_the_order_given(small_notebook):
    plan = batch.plan(small_notebook(), {"label": "a,b", "n": "2,3"})
    assert list(plan.sets.values()) == [{"label": label, "n": n} for label in "ab" for n in (2, 3)]
    assert plan.swept == ("label", "n")
    assert len(plan) == 4


def test_a_single_value_is_set_but_not_swept(small_notebook):
    plan = batch.plan(small_notebook(), {"label": "a", "n": "2,3"})
    assert plan.swept == ("n",)
    assert all(chosen["label"] == "a" for chosen in plan.sets.values())
    assert sets(small_notebook()) == [{}]


def test_ranges_are_even_or_even_in_their_logarithm():
    assert sets("ai_factory", {"pue": "1.1:1.5:5"}) == [{"pue": v} for v in (1.1, 1.2, 1.3, 1.4, 1.5)]
    assert sets("ai_factory", {"tokens": "1e12:1e14:3:log"}) == [{"tokens": v} for v in (1e12, 1e13, 1e14)]
    whole = [chosen["n_chips"] for chosen in sets("ai_factory", {"n_chips": "8:1000:4"})]
    assert whole == [8, 339, 669, 1000]
    assert all(type(n) is int for n in whole)


def test_an_end_left_out_is_the_declared_one(small_notebook):
    assert sets(small_notebook(), {"n": ":3:3"}) == [{"n": n} for n in (1, 2, 3)]
    assert sets(small_notebook(), {"n": "98::3"}) == [{"n": n} for n in (98, 99, 100)]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
def test_texts_quoted_as_in_csv_arrive_unchanged(values):
    assert expand._from_text(WORDS, ",".join(map(quoted, values))) == values


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters=',"')), min_size=1))
def test_plain_texts_arrive_unchanged(values):
    assert expand._from_text(WORDS, ",".join(values)) == values


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('"a,b",c', ["a,b", "c"]),
        ('say "hi",x', ['say "hi"', "x"]),
        ('"open,x', ['"open', "x"]),
        ("a:b:3", ["a:b:3"]),
        ("", [""]),
        ("line\nbreak,{x}", ["line\nbreak", "{x}"]),
    ],
)
def test_texts_as_people_write_them(text, values):
    assert expand._from_text(WORDS, text) == values


def test_yaml_holds_any_text_and_numbers_as_people_write_them(small_notebook, tmp_path):
    grid = tmp_path / "grid.yaml"
    grid.write_text('n: [1e1, 20, 3.0]\nlabel: ["a,b", "no", "1:2:3", "$(date)\\n"]\n')
    plan = batch.plan(small_notebook(), grid=grid)
    assert len(plan) == 12
    assert {chosen["n"] for chosen in plan.sets.values()} == {10, 20, 3}
    assert {chosen["label"] for chosen in plan.sets.values()} == {"a,b", "no", "1:2:3", "$(date)\n"}
    assert sets(small_notebook(), grid={"n": {"low": 1, "high": 100, "n": 3, "log": True}}) == [{"n": n} for n in (1, 10, 100)]
    assert len(sets(small_notebook(), {"label": "x,y"}, grid={"n": [1, 2]})) == 4


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("label: [no, b]", "label = False: expected text .any words.; text is put in quotes"),
        ("label: 2025-01-01", "text is put in quotes"),
        ("n: [1.5]", "n = 1.5: expected a whole number from 1 to 100"),
        ("n: {from: 1}", "expected a value, a list of values, or for a number {low, high, n, log}"),
        ("n: []", "n: no values"),
        ("n: 1\nn: 2", "grid.yaml: n given more than once"),
        ("- 1", "grid.yaml: expected a mapping"),
        ("n: [1", "grid.yaml: not YAML"),
    ],
)
def test_yaml_refusals(small_notebook, tmp_path, text, reason):
    grid = tmp_path / "grid.yaml"
    grid.write_text(text)
    with pytest.raises(InputError, match=reason):
        batch.plan(small_notebook(), grid=grid)


def test_zipped_lists_advance_together(small_notebook):
    assert sets(small_notebook(), {"n": "1,2,3", "label": "a,b,c"}, zip=[("n", "label")]) == [
        {"n": n, "label": label} for n, label in zip((1, 2, 3), "abc", strict=True)
    ]


def test_samples_fill_their_ranges_and_repeat_with_their_seed():
    asked = {"pue": "1.1:1.5", "n_chips": "8:8000:log"}
    drawn = sets("ai_factory", asked, samples=60)
    assert len(drawn) == 60
    pue, chips = (np.array([chosen[name] for chosen in drawn]) for name in ("pue", "n_chips"))
    assert pue.min() >= 1.1
    assert pue.max() <= 1.5
    assert pue.mean() == pytest.approx(1.3, abs=0.01)
    assert np.median(chips) == pytest.approx((8 * 8000) ** 0.5, rel=0.15)
    assert chips.dtype == int
    assert sets("ai_factory", asked, samples=60) == drawn
    assert sets("ai_factory", asked, samples=60, seed=1) != drawn


def test_samples_of_whole_numbers_give_each_the_same_share(small_notebook):
    drawn = [chosen["n"] for chosen in expand.plan(small_notebook(), {"n": "1:4", "label": "a,b,c,d"}, samples=64).sets.values()]
    assert sorted(set(drawn)) == [1, 2, 3, 4]  # the same number with the same label is one run
    counts = np.bincount(expand.Range(1, 4).sampled(((np.arange(64) + 0.5) / 64).tolist(), True))[1:]
    assert counts.tolist() == [16, 16, 16, 16]


def test_samples_without_ranges_take_the_declared_ones(small_notebook):
    drawn = sets(small_notebook(), {"label": "a,b"}, samples=8)
    assert all(1 <= chosen["n"] <= 100 for chosen in drawn)
    assert {chosen["label"] for chosen in drawn} == {"a", "b"}


def test_every_problem_is_named_at_once(small_notebook):
    with pytest.raises(ParameterError) as raised:
        batch.plan(small_notebook(), {"n": "0,7,x", "m": "1", "lable": "a"}, zip=[("n", "q")])
    assert raised.value.problems[:2] == [
        "n = 0: expected a whole number from 1 to 100 (how many)",
        "n = 'x': expected a whole number from 1 to 100 (how many)",
    ]
    assert "m: the notebook declares no such parameter" in raised.value.problems[2]
    assert "lable: the notebook declares no such parameter; nearest: label" in raised.value.problems[3]
    assert "zip n,q: no list of values for q" in raised.value.problems[4]


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (
            {"parameters": {"n": "1:9:2.5"}},
            "n = '1:9:2.5': expected values with commas, low:high:n with n a whole number, or low:high:n:log",
        ),
        ({"parameters": {"n": "5:1:3"}}, "n = 5:1: expected low:high with low below high"),
        ({"parameters": {"n": "1:200:3"}}, "n = 200: expected a whole number from 1 to 100"),
        ({"parameters": {"n": "1:4:9"}}, "n = 1:4:9: there are only 4 whole numbers from 1 to 4"),
        ({"parameters": {"n": "1:4"}}, "n = 1:4: a range to sample; give --samples N, or low:high:n for a grid"),
        ({"parameters": {"n": "1:4:0"}}, "expected at least 1 value"),
        ({"parameters": {"n": "1,2"}, "samples": 4}, "samples: nothing to sample"),
        ({"parameters": {"n": "1:4"}, "samples": 0}, "samples = 0: expected a whole number of at least 1"),
        ({"parameters": {"n": "1,2", "label": "a"}, "zip": [("n", "label")]}, "lists of different lengths: 2 of n, 1 of label"),
        ({"parameters": {"n": "1"}, "grid": {"n": 2}}, "n: given twice"),
        ({"parameters": {"label": "\udc80"}}, "not valid Unicode"),
        ({"grid": "nowhere.yaml"}, "nowhere.yaml: cannot be read"),
    ],
)
def test_refusals(small_notebook, asked, reason):
    with pytest.raises(InputError, match=re.escape(reason)):
        batch.plan(small_notebook(), **asked)


def test_a_logarithm_starts_above_nothing():
    with pytest.raises(ParameterError, match="a logarithmic range starts above 0"):
        batch.plan("ai_factory", {"wacc": "0:0.5:3:log"})


def test_a_grid_that_is_too_large_is_refused_and_not_expanded(small_notebook, monkeypatch):
    monkeypatch.setattr(expand.Range, "values", lambda *a: pytest.fail("expanded"))
    with pytest.raises(InputError, match=r"1,000,000,000 runs \(1,000,000,000 of tokens\) are more than the 10,000 that --max-runs allows"):
        batch.plan("ai_factory", {"tokens": "1e9:1e16:1000000000"})


@pytest.mark.parametrize("n", ["99999999999999999999", "9" * 500])
def test_ranges_of_more_values_than_a_machine_counts(n):
    with pytest.raises(InputError, match=r"runs .* are more than the 10,000"):
        batch.plan("ai_factory", {"tokens": f"1e9:1e16:{n}"})
    with pytest.raises(InputError, match="there are only 9 whole numbers"):
        batch.plan("ai_factory", {"n_chips": f"8:16:{n}"})
    with pytest.raises(InputError, match=r"runs .* are more than the 10,000"):
        batch.plan("ai_factory", grid={"tokens": {"low": 1e9, "high": 1e16, "n": int(n)}})


def test_keys_follow_from_content_and_values(small_notebook):
    path = small_notebook()
    keys = list(batch.plan(path, {"n": "3,4"}).sets)
    assert all(re.fullmatch("[0-9a-f]{20}", key) for key in keys)
    assert list(batch.plan(path).sets) == keys[1:]  # 4 is the default

    content = json.loads(path.read_text())
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            cell |= {"execution_count": 7, "outputs": [{"output_type": "stream", "name": "stdout", "text": "x"}]}
    path.write_text(json.dumps(content))
    assert list(batch.plan(path, {"n": "3,4"}).sets) == keys  # outputs do not count

    assert not set(batch.plan(small_notebook("x = 1"), {"n": "3,4"}).sets) & set(keys)


def test_a_notebook_without_parameters_cell_is_refused(small_notebook):
    path = small_notebook()
    content = json.loads(path.read_text())
    content["cells"] = [cell for cell in content["cells"] if not cell["metadata"].get("tags")]
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="no code cell is tagged 'parameters'"):
        batch.plan(path, {"n": "1,2"})
