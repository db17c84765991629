"""The files in tasks/lm_eval are the registered tasks: `python tests/unit/test_lm_eval_files.py` writes them anew."""

from pathlib import Path
from typing import Any

import yaml

from arithloc.benchmark.api.registry import OWN, Plugin, tasks
from arithloc.benchmark.taskdata.documents import SETTINGS, TASK_PREFIX, build

FOLDER = Path(__file__).parents[2] / "tasks" / "lm_eval"
COMMAND = "python tests/unit/test_lm_eval_files.py"
BASE = "_base.yaml"
TOY = "toy"


def base() -> str:
    head = (
        "# What all tasks of arithloc have in common. Prompts are drawn for the tokenizer of the model that lm-eval runs;\n"
        "# docs/tasks.md says which options there are.\n"
    )
    settings = {**SETTINGS, "metric_list": list(SETTINGS["metric_list"])}
    data = f"custom_dataset: !function {build.__module__}.{build.__name__}\n"
    return head + data + yaml.safe_dump(settings, sort_keys=False)


def task_file(info: Any) -> str:
    """A file of one task; toys are in no group, because other models cannot run them."""
    document = {
        "include": BASE,
        "task": TASK_PREFIX + info.name.replace("-", "_"),
        **({} if info.family == TOY else {"tag": ["arithloc", TASK_PREFIX + info.family]}),
        "dataset_kwargs": {"task": info.name},
        "metadata": {"version": info.version},
    }
    return yaml.safe_dump(document, sort_keys=False)


def wanted() -> dict[str, str]:
    infos = [p.target.info for p in tasks.all() if isinstance(p, Plugin) and p.distribution == OWN]
    return {BASE: base(), **{f"{TASK_PREFIX}{info.name.replace('-', '_')}.yaml": task_file(info) for info in infos}}


def write() -> None:
    for file in FOLDER.glob("*.yaml"):
        file.unlink()
    for name, text in wanted().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


def test_there_is_one_file_for_every_built_in_task() -> None:
    found = {file.name: file.read_text(encoding="utf-8") for file in FOLDER.iterdir()}
    assert found == wanted(), f"tasks/lm_eval: run '{COMMAND}'"


if __name__ == "__main__":
    write()
