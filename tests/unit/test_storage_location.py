"""What --db may say, and that passwords are never shown."""

from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from arithloc.benchmark.api.errors import UsageError
from arithloc.benchmark.storage.errors import explain
from arithloc.benchmark.storage.location import locate

SERVER = "postgresql+psycopg://someone:s3cr%40t@db.example.org:5433/results?sslpassword=hidden"


def test_a_file_keeps_its_artifacts_beside_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    location = locate("runs/a b.db")
    assert location.file == tmp_path / "runs" / "a b.db"
    assert location.results == tmp_path / "runs"
    assert location.shown == str(tmp_path / "runs" / "a b.db")
    assert locate("sqlite:///runs/a b.db") == location
    assert locate(Path("runs/a b.db"), Path("elsewhere")).results == tmp_path / "elsewhere"


def test_the_home_folder_is_understood(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert locate("~/r.db").file == tmp_path / "r.db"


def test_a_server_is_shown_without_credentials():
    location = locate(SERVER, Path("/somewhere"))
    assert location.file is None
    assert location.shown == "postgresql://db.example.org:5433/results"
    assert "s3cr%40t" in location.url.render_as_string(hide_password=False)


def test_credentials_in_a_driver_message_are_removed():
    location = locate(SERVER, Path("/somewhere"))
    raised = OperationalError("x", {}, Exception('password "s3cr@t" failed for user "someone" (someone:s3cr@t)'))
    message = str(explain(raised, location))
    assert "postgresql://db.example.org:5433/results does not answer" in message
    assert "s3cr" not in message
    assert "someone" not in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "path of a SQLite file"),
        (":memory:", "path of a SQLite file"),
        ("sqlite://", "path of a SQLite file"),
        ("a\0b", "path of a SQLite file"),
        ("sqlite:///x.db?mode=ro", "without options"),
        ("mysql://someone:s3cret@host/x", "found 'mysql'"),
        ("post gres://someone:s3cret@host/x", "cannot be read"),
        ("postgresql://someone:s3cret@host/x", "--results"),
        ("postgresql://someone:s3cret@host:port/x", "cannot be read"),
    ],
)
def test_wrong_databases_are_wrong_usage_and_keep_secrets(text, message):
    with pytest.raises(UsageError, match=message) as caught:
        locate(text)
    assert "s3cret" not in str(caught.value)
    assert caught.value.exit_code == 2
