"""Settings: where they come from, which one counts, and what is said of wrong ones."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import pytest

from stepwell.cli.config import Settings, without_password
from stepwell.cli.problems import CommandError
from stepwell.cli.settings import SETTINGS, Setting
from stepwell.runtime.options import WorkerOptions
from stepwell.runtime.working import WorkerKeywords
from stepwell.server import ServerOptions
from tests.cli.support import Shell

DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"
BY_KEY = {setting.key: setting for setting in SETTINGS}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def loaded(folder: Path, text: str, *, name: str = "stepwell.toml", **environment: str) -> Settings:
    (folder / name).write_text(text)
    return Settings.load(environment=environment)


# --- precedence


def test_a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default(folder: Path) -> None:
    text = "[server]\nport = 1\nhost = 'a'\nbacklog = 7"
    settings = loaded(folder, text, STEPWELL_SERVER_PORT="2", STEPWELL_SERVER_HOST="b")

    assert settings.get("server.port", 3) == 3
    assert settings.get("server.host") == "b"
    assert settings.get("server.backlog") == 7
    assert settings.get("server.drain") == 10.0


def test_a_value_knows_where_it_comes_from(folder: Path) -> None:
    settings = loaded(folder, "app = 'orders:app'", STEPWELL_BACKEND="memory://")

    assert settings.source("app") == "stepwell.toml"
    assert settings.source("backend") == "STEPWELL_BACKEND"
    assert settings.source("namespace") == "default"


def test_an_empty_variable_says_nothing(folder: Path) -> None:
    assert not Settings.load(environment={"STEPWELL_BACKEND": ""}).is_set("backend")


# --- files


def test_the_project_file_has_a_table_of_ours(folder: Path) -> None:
    text = "[project]\nname = 'shop'\n[tool.stepwell]\nbackend = 'memory://'\n[tool.stepwell.worker]\nlease = '1m'"
    settings = loaded(folder, text, name="pyproject.toml")

    assert settings.get("backend") == "memory://"
    assert settings.given("worker") == {"lease": "1m"}


def test_our_own_file_goes_before_the_project_file_and_is_found_from_below(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "pyproject.toml").write_text("[tool.stepwell]\nnamespace = 'no'")
    (folder / "stepwell.toml").write_text("namespace = 'yes'")
    below = folder / "a" / "b"
    below.mkdir(parents=True)
    (below / "pyproject.toml").write_text("[project]\nname = 'of another'")
    monkeypatch.chdir(below)

    assert Settings.load(environment={}).get("namespace") == "yes"


def test_places_in_a_file_are_seen_from_its_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "stepwell.toml").write_text("backend = 'sqlite:///runs.db?relaxed=1'\napp = 'orders:app'")
    (folder / "orders.py").touch()
    below = folder / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    settings = Settings.load(environment={})

    assert settings.get("backend") == f"sqlite:///{folder}/runs.db?relaxed=1"
    assert settings.get("app") == f"{folder / 'orders.py'}:app"


def test_a_file_can_be_named(folder: Path) -> None:
    (folder / "other.toml").write_text("namespace = 'there'")

    assert Settings.load("other.toml", {}).get("namespace") == "there"
    assert Settings.load(environment={"STEPWELL_CONFIG": "other.toml"}).get("namespace") == "there"
    with pytest.raises(CommandError, match="there is no configuration file gone"):
        Settings.load("gone.toml", {})


# --- the environment


@pytest.mark.parametrize(
    ("variable", "text", "key", "value"),
    [
        ("STEPWELL_SERVER_PORT", "80", "server.port", 80),
        ("STEPWELL_SERVER_ACCESS_LOG", "true", "server.access_log", True),
        ("STEPWELL_SERVER_CORS_ORIGINS", "https://a.example, https://b.example", "server.cors_origins", None),
        ("STEPWELL_WORKER_LEASE", "45", "worker.lease", 45.0),
        ("STEPWELL_WORKER_GRACE", "1m", "worker.grace", "1m"),
        ("STEPWELL_LOG_FORMAT", "json", "log_format", "json"),
    ],
)
def test_variables_are_read_by_the_type_of_their_setting(
    folder: Path, variable: str, text: str, key: str, value: Any
) -> None:
    expected = ("https://a.example", "https://b.example") if value is None else value
    assert Settings.load(environment={variable: text}).get(key) == expected


# --- wrong ones


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "bakend = 'memory://'",
            r"stepwell.toml: there is no setting 'bakend'; is 'backend' meant\? There are: backend,",
        ),
        (
            "[server]\nprot = 1",
            r"no setting 'server.prot'; is 'server.port' meant\? There are in \[server\]: host, port,",
        ),
        ("[sever]\nport = 1", r"there is no setting 'sever'.*\[server\], \[worker\]"),
        ("[server]\ndev = true", "there is no setting 'server.dev'"),
        ("server = 7788", r"server is a table; write \[server\]"),
        ("[server]\nport = '80'", "the setting 'server.port' does not fit: Expected `int`, got `str`"),
        ("[worker]\nlease = 'soon'", "the setting 'worker.lease' does not fit: .* write it as"),
        ("log_format = 'xml'", "the setting 'log_format' does not fit: Invalid enum value 'xml'"),
        ("server = ", "stepwell.toml is not TOML"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_its_place_and_what_there_is(folder: Path, text: str, said: str) -> None:
    with pytest.raises(CommandError, match=said):
        loaded(folder, text)


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("STEPWELL_SERVER_PROT", "1", "STEPWELL_SERVER_PROT is no setting; is STEPWELL_SERVER_PORT meant"),
        ("STEPWELL_SERVER_PORT", "many", "STEPWELL_SERVER_PORT='many' does not fit"),
        ("STEPWELL_WORKER_LEASE", "soon", "STEPWELL_WORKER_LEASE='soon' does not fit"),
    ],
)
def test_what_is_wrong_in_the_environment_is_named(folder: Path, variable: str, text: str, said: str) -> None:
    with pytest.raises(CommandError, match=said):
        Settings.load(environment={variable: text})


def test_variables_of_others_are_left_alone(folder: Path) -> None:
    assert Settings.load(environment={"STEPWELL_SECRET_STRIPE": "x", "STEPWELL_DEBUG": "1"}).get("app") == ""


# --- the command


def test_the_command_shows_values_and_where_they_come_from_but_no_password(shell: Shell) -> None:
    (shell.folder / "stepwell.toml").write_text("backend = 'postgresql://ada:s3cret@db/runs'\n[server]\nport = 80")
    done = shell("config")

    assert "postgresql://ada:***@db/runs" in done.stdout
    assert "s3cret" not in done.stdout + shell("config", "--json").stdout
    assert re.search(r"server.port +80 .*stepwell.toml", done.stdout)
    assert shell.json("config", "--json")[0]["from"].endswith("stepwell.toml")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///runs.db", "sqlite:///runs.db"),
        ("redis://:pass@cache:6379", "redis://:***@cache:6379"),
        ("postgresql://ada:p:a@db/runs", "postgresql://ada:***@db/runs"),
    ],
)
def test_passwords_in_urls_are_not_shown(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_commands_look_where_the_file_says(shell: Shell) -> None:
    (shell.folder / "stepwell.toml").write_text("backend = 'sqlite:///elsewhere.db'\napp = 'orders.py'")

    assert shell("run", "orders.py:checkout", "--input", '{"id": 7}', "--id", "o-7").returncode == 0
    assert (shell.folder / "elsewhere.db").exists()
    assert shell.json("runs", "list", "--json")["runs"][0]["id"] == "o-7"


# --- the table


def test_every_option_of_a_server_but_dev_is_a_setting_with_its_type_and_default() -> None:
    own = {"host", "port", "public_url", "behind_proxy", "access_log", "backlog", "keep_alive", "header_timeout"}
    fields = {field.name: field for field in msgspec.structs.fields(ServerOptions)}
    rows = {key.removeprefix("server."): row for key, row in BY_KEY.items() if key.startswith("server.")}

    assert rows.keys() - own == fields.keys() - {"dev"}
    for name in rows.keys() - own:
        assert (rows[name].type, rows[name].default) == (fields[name].type, fields[name].default), name


def test_every_option_of_a_worker_is_a_setting_with_its_default() -> None:
    defaults, rows = WorkerOptions(), {key: row for key, row in BY_KEY.items() if key.startswith("worker.")}

    assert {key.removeprefix("worker.") for key in rows} == set(get_type_hints(WorkerKeywords))
    for key, row in rows.items():
        if row.is_duration:
            assert row.default == f"{getattr(defaults, key.removeprefix('worker.') + '_ms') // 1000}s"
        else:
            assert row.default == getattr(defaults, key.removeprefix("worker."))


def test_the_document_has_the_table_of_all_settings() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert "\n".join(["| setting | default | flag | meaning |", "|---|---|---|---|", *map(line, SETTINGS)]) in text


def line(setting: Setting) -> str:
    default = setting.default
    if setting.key == "worker.threads":
        shown = "by cores"
    elif setting.is_list:
        shown = ", ".join(f"`{item}`" for item in default)
    elif default in (None, ""):
        shown = ""
    else:
        shown = f"`{str(default).lower() if isinstance(default, bool) else default}`"
    flag = f"`{setting.flag}`" if setting.flag else ""
    return f"| `{setting.key}` | {shown} | {flag} | {setting.text} |"
