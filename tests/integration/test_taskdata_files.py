"""Pairs as datasets and Parquet files: what is read is what was drawn, with its hash."""

import dataclasses
import json
import random
from dataclasses import dataclass

import datasets
import pyarrow.parquet
import pytest
from support.number_tokenizers import build as tokenizer

from arithloc.benchmark.api import PromptPair, Split, TaskInfo, TokenizerMismatch, data_hash
from arithloc.benchmark.api.errors import TaskError, UsageError
from arithloc.benchmark.api.options import Reference
from arithloc.benchmark.runner.private import PrivateSeed
from arithloc.benchmark.runner.private_pairs import PUBLIC_PAIRS, PUBLIC_SEED
from arithloc.benchmark.taskdata.documents import documents
from arithloc.benchmark.taskdata.drawing import draw, draw_private
from arithloc.benchmark.taskdata.hub import from_dataset, read_parquet, to_dataset, write_parquet
from arithloc.benchmark.taskdata.rows import pair_of, row_of
from arithloc.tasks.arith2 import Addition

SECRET = PrivateSeed(bytes(range(32)))
PAIR = PromptPair(
    task="counting", frame="f", operator="o", kind="k", clean="", counterfactual="", clean_ids=(1,),
    counterfactual_ids=(2,), classes=("last",), answer="", answer_cf="", answer_ids=(3,), answer_cf_ids=(4,), first_diff=0,
    candidates=(3, 4), strata=(), cluster="", split=Split.TEST, index=0,
)  # fmt: skip
FOILS = Reference.parse("addition[kind=operator_null,frames=F1,shots=1]")


@pytest.fixture(scope="module")
def pairs():
    return draw(FOILS, tokenizer("qwen"), Split.TEST, 20).pairs


def test_a_row_is_plain_and_gives_its_pair_back(pairs):
    for pair in pairs:
        row = json.loads(json.dumps(row_of(pair)))
        assert pair_of(row) == pair
        assert row.keys() == {field.name for field in dataclasses.fields(PromptPair)}
    assert any(pair.answer_cf_is_foil for pair in pairs)


def test_a_dataset_gives_its_pairs_back_and_can_be_filtered(pairs):
    dataset = to_dataset(pairs)
    assert isinstance(dataset, datasets.Dataset) and from_dataset(dataset) == pairs
    assert dataset.features["clean_ids"].feature.dtype == "int64"
    kept = dataset.filter(lambda row: row["first_diff"] == 0)
    assert from_dataset(kept) == tuple(pair for pair in pairs if pair.first_diff == 0)
    assert from_dataset(to_dataset(())) == ()


def test_a_file_holds_the_pairs_and_where_they_come_from(pairs, tmp_path):
    drawn = draw(FOILS, tokenizer("qwen"), Split.TEST, 20)
    file = tmp_path / "below" / "pairs.parquet"
    digest = write_parquet(pairs, file, drawn.about("qwen", "3" * 64))
    assert digest == data_hash(pairs) == drawn.data_hash
    read, about = read_parquet(file)
    assert read == pairs
    assert about["data_hash"] == digest and about["task"] == "addition" and about["tokenizer_hash"] == "3" * 64
    assert (about["requested"], about["n_pairs"], about["seed"], about["private"]) == (20, 20, 0, None)
    assert about["options"]["kind"] == "operator_null"
    plain = datasets.Dataset.from_parquet(str(file), cache_dir=str(tmp_path / "cache"))
    assert from_dataset(plain) == pairs and plain.features == to_dataset(pairs).features
    assert [entry.name for entry in file.parent.iterdir()] == ["pairs.parquet"]


def test_a_changed_or_foreign_file_is_noticed(pairs, tmp_path):
    file = tmp_path / "pairs.parquet"
    write_parquet(pairs, file, {})
    table = pyarrow.parquet.read_table(file)
    pyarrow.parquet.write_table(table.slice(1), tmp_path / "shorter.parquet")
    with pytest.raises(UsageError, match="found other pairs"):
        read_parquet(tmp_path / "shorter.parquet")
    pyarrow.parquet.write_table(table.replace_schema_metadata(None), tmp_path / "plain.parquet")
    with pytest.raises(UsageError, match="another Parquet file"):
        read_parquet(tmp_path / "plain.parquet")
    (tmp_path / "text.parquet").write_text("no parquet")
    with pytest.raises(UsageError, match="cannot be read"):
        read_parquet(tmp_path / "text.parquet")


def test_public_draws_are_those_of_cells():
    drawn = draw(Reference.parse("addition"), tokenizer("qwen"), Split.TEST, 16)
    assert drawn.pairs == tuple(Addition().pairs(tokenizer("qwen"), Split.TEST, 16, PUBLIC_SEED))
    assert drawn.n_clusters == len({pair.cluster for pair in drawn.pairs})


class Broken:
    info = Addition.info

    def pairs(self, tokenizer, split, n, seed):
        raise KeyError("inside")


def test_a_task_that_breaks_is_named():
    broken = Reference(f"{__file__}:Broken")
    with pytest.raises(TaskError, match=r"addition.*KeyError"):
        draw(broken, None, Split.TEST, 4)


@dataclass(frozen=True)
class Counting:
    """Pair i of cluster i, in an order that the seed decides."""

    size: int = 40
    info = TaskInfo(name="counting", summary="", family="")

    def pairs(self, tokenizer, split, n, seed):
        places = random.Random(seed).sample(range(self.size), self.size)  # noqa: S311
        return [dataclasses.replace(PAIR, cluster=str(i), clean=str(i), index=k) for k, i in enumerate(places[:n])]


@pytest.mark.parametrize(("size", "separable"), [(4000, True), (400, False), (60, False)])
def test_public_operands_are_left_out_of_a_private_draw_where_there_are_enough(size, separable):
    # 1000 pairs are public: 4000 leave three of four for a request of 20, 400 and 60 none
    drawn = draw_private(Reference(f"{__file__}:Counting", (("size", str(size)),)), None, "3" * 64, 20, SECRET)
    public = {pair.cluster for pair in Counting(size).pairs(None, Split.TEST, PUBLIC_PAIRS, PUBLIC_SEED)}
    seed = SECRET.of_task(drawn.task, "3" * 64)
    straight = Counting(size).pairs(None, Split.TEST, size, seed)
    chosen = [pair for pair in straight if pair.cluster not in public][:20] if separable else straight[:20]
    assert [pair.clean for pair in drawn.pairs] == [pair.clean for pair in chosen]
    assert [pair.index for pair in drawn.pairs] == list(range(20))
    removed = straight.index(chosen[-1]) - 19
    assert drawn.privacy.removed == removed and (removed > 0) == separable
    assert drawn.privacy.public_share == (0.0 if separable else 1.0)
    other = draw_private(drawn.reference, None, "3" * 64, 20, PrivateSeed(bytes(32)))
    assert {p.clean for p in other.pairs} != {p.clean for p in drawn.pairs}
    about = json.dumps(drawn.about("qwen", "3" * 64))
    assert drawn.seed is None and '"seed": null' in about
    assert SECRET.commitment in about and str(seed) not in about and bytes(range(32)).hex() not in about


def test_a_private_draw_of_a_small_task_says_how_much_is_public():
    drawn = draw_private(Reference.parse("addition"), tokenizer("qwen"), "3" * 64, 8, SECRET)
    assert len(drawn.pairs) == 8 and drawn.privacy.removed == 0
    assert drawn.privacy.public_share == 1.0  # all 28 pairs of the test part are in the public split


TASKS = ("addition[digits=d2,shots=1]", "subtraction[frames=Y3]", "copying[digits=d2]")


@pytest.mark.parametrize("name", ["gpt2", "llama2", "llama3", "qwen"])
@pytest.mark.parametrize("task", TASKS)
def test_documents_say_what_the_pairs_say(name, task):
    tok = tokenizer(name)
    pairs = draw(Reference.parse(task), tok, Split.TEST, 12).pairs
    written = documents(pairs, tok)
    assert written.left_out == 0
    for pair, row in zip(pairs, written.rows, strict=True):
        assert row["choice_ids"] == list(pair.candidates)  # nothing merges in these
        assert row["choice_ids"][row["gold"]] == pair.answer_token
        assert row["choice_ids"][row["foil"]] == pair.foil_token
        assert (row["index"], row["answer"], row["cluster"]) == (pair.index, pair.answer, pair.cluster)
        # as lm-eval cuts it: the prompt without the white space at its end, and everything behind that is scored
        added = row["prompt"].startswith(tok.decode(tok("")["input_ids"] or [tok.eos_token_id]))
        text = row["prompt"] + row["choices"][row["gold"]]
        whole, stem = (tok(t, add_special_tokens=not added)["input_ids"] for t in (text, row["prompt"].rstrip()))
        assert whole == [*pair.clean_ids, pair.answer_token]
        assert len(whole) - len(stem) == row["n_scored"]
        assert (row["n_scored"] == 1) == (not row["prompt"][-1].isspace())


def test_pairs_whose_tokens_cannot_be_written_are_counted():
    tok = tokenizer("qwen")
    pairs = draw(Reference.parse("addition"), tok, Split.TEST, 4).pairs
    # " +" is one token, so that a space and "+" as two tokens never come back from their text
    one, (space,), (plus,) = (tok(text)["input_ids"] for text in (" +", " ", "+"))
    at = pairs[0].clean_ids.index(one[0])
    odd = dataclasses.replace(
        pairs[0], clean_ids=(*pairs[0].clean_ids[:at], space, plus, *pairs[0].clean_ids[at + 1 :])
    )
    written = documents((odd, *pairs[1:]), tok)
    assert written.left_out == 1 and [row["index"] for row in written.rows] == [1, 2, 3]
    with pytest.raises(TokenizerMismatch, match="does not give"):
        documents((odd,), tok)
