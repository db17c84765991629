"""Methods and tasks found by reference, with their options and identity."""

from pathlib import Path

import pytest

from arithloc.benchmark.api import Granularity
from arithloc.benchmark.api.errors import BadOption, UnknownName, UsageError
from arithloc.benchmark.api.options import Reference
from arithloc.benchmark.api.registry import methods
from arithloc.benchmark.runner.choices import (
    apply_options,
    check_names,
    choose_method,
    choose_task,
    parse_options,
)
from arithloc.benchmark.runner.process import worker_environment
from arithloc.benchmark.runner.suites import BUILT_IN_METHODS, IMPORTED, ORACLE, SUITES, get_suite

MINE = '''
from dataclasses import dataclass
from arithloc.benchmark.api import MethodInfo, TaskInfo

@dataclass(frozen=True)
class Mine:
    """For tests."""
    power: float = 1.0
    frames: tuple[str, ...] = ("a",)
    info = MethodInfo(name="mine", summary="For tests.", granularities={"node", "layer"}, version="7")
    def localize(self, problem): ...

class NoLocalize:
    info = Mine.info

class Odd:
    info = MethodInfo(name="odd", summary="For tests.", granularities={"atom"})
    def localize(self, problem): ...

class Picky:
    info = Mine.info
    def __init__(self): raise RuntimeError("not today")
    def localize(self, problem): ...

class Job:
    info = TaskInfo(name="job", summary="For tests.", family="test")
    def pairs(self, tokenizer, split, n, seed): ...
'''


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


def test_a_method_in_a_file_gets_identity_options_and_an_absolute_place(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    choice = choose_method(Reference("./mine.py:Mine", (("power", "2"), ("frames", "x y"))))
    assert choice.reference.name == f"{file.resolve()}:Mine"
    assert choice.granularities == {Granularity.NODE, Granularity.LAYER}
    record = choice.record
    assert (record.name, record.version, record.distribution, record.sanity) == ("mine", "7", "local", False)
    assert record.options == {"power": 2.0, "frames": ["x", "y"]}
    assert record.title == "mine[frames=x y,power=2.0]"
    assert choose_method(Reference("./mine.py:Mine")).record.title == "mine"
    assert len(record.source_hash) == 64


def test_a_task_in_a_file_gets_an_identity(file):
    choice = choose_task(Reference(f"{file}:Job"))
    assert (choice.record.name, choice.record.family, choice.record.options) == ("job", "test", {})


def test_a_discovery_kind_leaves_the_identity_of_the_task_as_it_is():
    plain = choose_task(Reference.parse("addition[shots=1]"))
    crossed = choose_task(Reference.parse("addition[shots=1,discovery_kind=same_answer]"))
    assert (plain.discovery_kind, crossed.discovery_kind) == ("", "same_answer")
    assert crossed.record == plain.record and "discovery_kind" not in plain.record.options
    assert str(crossed.reference) == "addition[discovery_kind=same_answer,shots=1]"
    own = choose_task(Reference.parse("addition[discovery_kind=operands,shots=1]"))  # the kind of the test pairs anyway
    assert own == plain


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gender[discovery_kind=operands]", "kind"),
        ("addition[discovery_kind=same]", "same_answer"),
        ("addition[discovery_kind=carry_flip]", "d2"),
    ],
)
def test_a_discovery_kind_that_the_task_does_not_have_is_refused(text, words):
    with pytest.raises(UsageError, match=words):
        choose_task(Reference.parse(text))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("NoLocalize", "localize"),
        ("Odd", "atom"),
        ("Picky", "not today"),
        ("Job", "MethodInfo"),
        ("Missing", "Missing"),
    ],
)
def test_what_is_no_method_is_refused(file, name, words):
    with pytest.raises(UsageError, match=words) as error:
        choose_method(Reference(f"{file}:{name}"))
    assert error.value.exit_code == 2


@pytest.mark.parametrize("option", [("power", "much"), ("pover", "1")])
def test_bad_options_are_refused(file, option):
    with pytest.raises(UsageError, match="power"):
        choose_method(Reference(f"{file}:Mine", (option,)))


def test_only_the_built_in_reference_rows_are_marked_as_such():
    assert choose_method(Reference("random")).record.sanity
    assert choose_method(Reference(ORACLE)).record.sanity


def test_unknown_names_are_refused_with_near_ones_and_without_importing():
    with pytest.raises(UnknownName, match="mediation"):
        check_names([Reference("mediatoin")], [])
    with pytest.raises(UnknownName, match="addition"):
        check_names([], [Reference("adition")])
    with pytest.raises(UnknownName, match="oracle"):
        check_names([Reference("oracel")], [])
    with pytest.raises(UsageError, match=r"no-file\.py"):
        check_names([Reference("./no-file.py:X")], [])
    check_names([Reference("mediation"), Reference(ORACLE), Reference("some.module:X")], [Reference("addition")])
    with pytest.raises(UnknownName):
        check_names([], [Reference(ORACLE)])


def test_options_go_to_the_reference_they_name():
    options = parse_options(["a.x=1", "a.y=b=c", "./m.py:C.z=2"])
    assert options == {"a": {"x": "1", "y": "b=c"}, "./m.py:C": {"z": "2"}}
    methods_, tasks_ = apply_options(options, [Reference("a", (("x", "0"),)), Reference("./m.py:C")], [Reference("t")])
    assert [str(m) for m in methods_] == ["a[x=1,y=b=c]", "./m.py:C[z=2]"] and tasks_ == [Reference("t")]
    with pytest.raises(UnknownName, match="method or task"):
        apply_options({"other": {"x": "1"}}, [Reference("a")], [])


@pytest.mark.parametrize("text", ["", "x", "x=1", ".x=1", "a.=1", "a.x"])
def test_options_of_another_form_are_refused(text):
    with pytest.raises(BadOption, match=r"name\.field=value"):
        parse_options([text])


def test_suites_name_registered_things():
    assert {*BUILT_IN_METHODS, IMPORTED} == set(methods.names())
    for suite in SUITES.values():
        check_names([Reference.parse(m) for m in suite.methods], [Reference.parse(t) for t in suite.tasks])
        for text in suite.tasks:
            choose_task(Reference.parse(text))
    with pytest.raises(UnknownName, match="quick"):
        get_suite("quik")


def test_a_worker_sees_its_own_card_only():
    environment, inside = worker_environment("cuda:1", 3, {"CUDA_VISIBLE_DEVICES": "4,7", "HOME": "/h"})
    assert (environment["CUDA_VISIBLE_DEVICES"], inside, environment["OMP_NUM_THREADS"]) == ("7", "cuda:0", "3")
    assert worker_environment("cuda:2", 0, {})[0]["CUDA_VISIBLE_DEVICES"] == "2"
    assert worker_environment("cpu", 3, {"OMP_NUM_THREADS": "1"})[0]["OMP_NUM_THREADS"] == "1"
    assert worker_environment("cpu", 0, {})[0]["CUDA_VISIBLE_DEVICES"] == ""
    assert "CUDA_VISIBLE_DEVICES" not in worker_environment("auto", 0, {})[0]
    assert Path(environment["HOME"]) == Path("/h")
