"""The secret seed of a private split."""

import hashlib
import hmac
import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.results import TASK

from arithloc.benchmark.api.errors import PrerequisiteError, UsageError
from arithloc.benchmark.cli.app import command
from arithloc.benchmark.runner.private import PrivateSeed, new_private_seed, read_private_seed
from arithloc.benchmark.runner.suites import get_suite

SECRET = bytes(range(32))
HEX = SECRET.hex()
SHA = "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd"  # of the bytes 00 01 .. 1f


def test_the_commitment_is_the_sha256_of_the_bytes():
    seed, warnings = read_private_seed(None, {"ARITHLOC_PRIVATE_SEED": HEX + "\n"})
    assert warnings == [] and seed.commitment == SHA == hashlib.sha256(SECRET).hexdigest()
    text = f'{{"n_pairs":64,"season":"1","seed_hex":"{HEX}","suite":"quick","suite_version":"1"}}'
    assert seed.season_commitment("1", "quick", "1", 64) == hashlib.sha256(text.encode()).hexdigest()


def test_each_task_and_tokenizer_has_a_seed_of_its_own():
    seed = PrivateSeed(SECRET)
    text = '["arithloc","addition","1",{"digits":2,"frame":"equals"},"' + "3" * 64 + '"]'
    wanted = int.from_bytes(hmac.digest(SECRET, text.encode(), "sha256")[:8], "big") // 2
    assert seed.of_task(TASK, "3" * 64) == wanted < 2**63
    others = [replace(TASK, name="subtraction"), replace(TASK, version="2"), replace(TASK, options={"digits": 3})]
    assert len({wanted, seed.of_task(TASK, "4" * 64), *(seed.of_task(task, "3" * 64) for task in others)}) == 5
    assert PrivateSeed(bytes(32)).of_task(TASK, "3" * 64) != wanted


def test_nothing_shows_the_secret(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("ARITHLOC_PRIVATE_SEED", HEX)
    seed, _ = read_private_seed(None)
    assert HEX not in repr(seed) and repr(seed) == "PrivateSeed(630dcd2966c4...)"
    for arguments in (["tasks", "commit"], ["tasks", "commit", "--season", "1"], ["tasks", "commit", "--json"]):
        assert command(arguments) == 0
        shown = "".join(capsys.readouterr())
        assert SHA in shown and HEX not in shown and HEX[:12] not in shown
    with pytest.raises(UsageError) as wrong:
        read_private_seed(None, {"ARITHLOC_PRIVATE_SEED": "my secret phrase"})
    assert "my secret" not in str(wrong.value) and "64 hexadecimal digits" in str(wrong.value)


@pytest.mark.parametrize("text", ["", "00" * 31, "00" * 33, "zz" * 32])
def test_a_seed_of_another_form_is_refused(tmp_path, text):
    file = tmp_path / "seed"
    file.write_text(text)
    with pytest.raises(UsageError, match="64 hexadecimal digits"):
        read_private_seed(file)


def test_a_file_that_others_can_read_is_warned_of(tmp_path):
    file = tmp_path / "seed"
    file.write_text(HEX)
    file.chmod(0o600)
    seed, warnings = read_private_seed(file)
    assert (seed.commitment, warnings) == (SHA, [])
    file.chmod(0o640)
    (warning,) = read_private_seed(file)[1]
    assert "mode 0640" in warning and "chmod 600" in warning and HEX not in warning


def test_a_new_seed_is_random_closed_and_never_overwrites(tmp_path):
    files = [tmp_path / name for name in ("a", "b")]
    seeds = [new_private_seed(file) for file in files]
    assert seeds[0].commitment != seeds[1].commitment
    for file, seed in zip(files, seeds, strict=True):
        assert file.stat().st_mode & 0o777 == 0o600
        assert hashlib.sha256(bytes.fromhex(file.read_text().strip())).hexdigest() == seed.commitment
    before = files[0].read_text()
    with pytest.raises(UsageError, match="there already"):
        new_private_seed(files[0])
    assert files[0].read_text() == before


def test_a_seed_that_is_nowhere_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.delenv("ARITHLOC_PRIVATE_SEED", raising=False)
    with pytest.raises(PrerequisiteError, match=r"--private-seed-file.*ARITHLOC_PRIVATE_SEED"):
        read_private_seed(None)
    with pytest.raises(PrerequisiteError, match="cannot be read"):
        read_private_seed(tmp_path / "none")


def test_a_seed_in_the_place_of_a_file_is_not_repeated():
    with pytest.raises(UsageError, match="the seed itself") as wrong:
        read_private_seed(Path(HEX))
    assert HEX not in str(wrong.value) and wrong.value.__cause__ is None


def test_the_document_of_a_season_says_how_the_seed_is_used(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("ARITHLOC_PRIVATE_SEED", HEX)
    assert command(["tasks", "commit", "--season", "2027-1", "--suite", "quick", "-n", "64", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    version = get_suite("quick").version
    assert document["season"] == {"season": "2027-1", "suite": "quick", "suite_version": version, "n_pairs": 64}
    seed = PrivateSeed(SECRET)
    assert (
        document["season_sha256"] == seed.season_commitment("2027-1", "quick", version, 64) != document["seed_sha256"]
    )
