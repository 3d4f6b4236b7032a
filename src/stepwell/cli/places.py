"""Where things are: the file with the workflows, and the backend with the runs."""

from __future__ import annotations

import importlib
import sys
from argparse import Namespace
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar
from urllib.parse import unquote

from stepwell.authoring.implementations import has_type
from stepwell.authoring.workflows import Definition
from stepwell.cli.config import Settings
from stepwell.cli.problems import UNREACHABLE, CommandError
from stepwell.cli.targets import add_targets
from stepwell.runtime.app import DEFAULT_URL, Stepwell
from stepwell.runtime.working import moved

K = TypeVar("K")

_OURS = str(Path(__file__).parent.parent)


def split_target(text: str) -> tuple[str, str]:
    """`orders.py:checkout` as file and name; the name may be empty. The colon of `C:\\orders.py` is no separator."""
    place, colon, name = text.rpartition(":")
    if not colon or "/" in name or "\\" in name or name.endswith(".py"):
        return text, ""
    return place, name


def load_module(place: str) -> ModuleType:
    """Import a file, or a module by its dotted name."""
    path = Path(place)
    if path.suffix == ".py" or path.is_file():
        if not path.is_file():
            raise CommandError(f"there is no file {place} in {Path.cwd()}; write FILE.py:NAME")
        path = path.resolve()
        module = _imported(*_name_of(path), what=place)
        if Path(module.__file__ or "").resolve() != path:
            raise CommandError(f"another module is called {module.__name__} ({module.__file__}); rename {place}")
        return module
    return _imported(place, Path.cwd(), what=place)


def _name_of(path: Path) -> tuple[str, Path]:
    """The dotted name of a file, and the folder in which that name starts: outside of all packages."""
    names, folder = [path.stem], path.parent
    while (folder / "__init__.py").exists():
        names.insert(0, folder.name)
        folder = folder.parent
    return ".".join(names), folder


def folder_of(place: str) -> Path:
    """The folder from which a file, or a module by its name, is imported."""
    path = Path(place)
    return _name_of(path.resolve())[1] if path.is_file() else Path.cwd()


def _imported(name: str, folder: Path, *, what: str) -> ModuleType:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise CommandError(f"there is no module {name}; write FILE.py:NAME or MODULE:NAME") from None
        raise CommandError(f"{what} cannot be imported: {error}{_place_of(error)}") from error
    except Exception as error:
        raise CommandError(f"{what} cannot be imported: {type(error).__name__}: {error}{_place_of(error)}") from error


def _place_of(error: BaseException) -> str:
    """The user's line at which an import failed."""
    if isinstance(error, SyntaxError):
        return ""
    trace, place = error.__traceback__, ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith(("<frozen", _OURS)) and "importlib" not in file:
            place = f" ({file}:{trace.tb_lineno})"
        trace = trace.tb_next
    return place


def app_of(module: ModuleType, name: str = "") -> Stepwell | None:
    """The app of a module: the one of that name, else `app`, else the only one that there is."""
    if name:
        found = getattr(module, name, None)
        if not isinstance(found, Stepwell):
            known = ", ".join(_named(module, Stepwell)) or "none"
            raise CommandError(f"{module.__name__} has no app called {name!r}; its apps: {known}")
        return found
    apps = _named(module, Stepwell)
    if "app" in apps:
        return apps["app"]
    return next(iter(apps.values())) if len(apps) == 1 else None


def workflow_of(module: ModuleType, name: str) -> Definition[Any, Any]:
    """The workflow, or blueprint, of that name or id in a module; without a name, the only one."""
    found = definitions_of(module)
    known = ", ".join(found) or "none"
    if not name and len(found) == 1:
        return next(iter(found.values()))
    if not name:
        raise CommandError(f"which workflow of {module.__name__}? write FILE:WORKFLOW; there are: {known}")
    for key, workflow in found.items():
        if name in (key, workflow.id):
            return workflow
    raise CommandError(f"{module.__name__} has no workflow {name!r}; it has: {known}")


def definitions_of(module: ModuleType) -> dict[str, Definition[Any, Any]]:
    """Its workflows and blueprints, by their names in the module."""
    return {name: value for name, value in vars(module).items() if has_type(value, Definition)}


def _named(module: ModuleType, kind: type[K]) -> dict[str, K]:
    return {key: value for key, value in vars(module).items() if has_type(value, kind)}


def backend_url(given: str | None, app: Stepwell | None = None, settings: Settings | None = None) -> str:
    """--backend, else what is set, else the app's, else the database in ./.stepwell."""
    settings = settings or Settings.load()
    if given or settings.is_set("backend"):
        return str(settings.get("backend", given))
    return DEFAULT_URL if app is None else app.url


def sqlite_path(url: str) -> Path | None:
    """The file of an SQLite URL."""
    if not url.startswith("sqlite:///"):
        return None
    return Path(unquote(url.removeprefix("sqlite:///").partition("?")[0]))


def make_home(url: str) -> None:
    """Create ./.stepwell if the database belongs in there, and keep it out of version control."""
    path = sqlite_path(url)
    home = Path(".stepwell")
    if path is None or path.parent.parts[:1] != (".stepwell",):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    ignore = home / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="utf-8")


def worked_app(settings: Settings, *, keeps_runs: bool = True) -> Stepwell:
    """The app to work for, not yet open, with the targets of the file; a file with workflows makes one."""
    url = backend_url(None, None, settings)
    app = Stepwell(url) if keeps_runs and settings.targets and not settings.get("app") else _named_app(settings)
    if keeps_runs:
        make_home(app.url)
        add_targets(app, settings.targets, settings.source("targets"))
    return app


def _named_app(settings: Settings) -> Stepwell:
    target = settings.get("app")
    if not target:
        raise CommandError("name the app, as MODULE:app or FILE.py, or set `app` in stepwell.toml")
    place, name = split_target(target)
    module = load_module(place)
    app = app_of(module, name)
    url = backend_url(None, app, settings)
    if app is None:
        if not definitions_of(module):
            raise CommandError(f"{module.__name__} has neither an app nor a workflow; write MODULE:app")
        app = Stepwell(url, include=[module])
    app.url = url
    return app


def in_namespace(app: Stepwell, given: str | None, settings: Settings) -> Stepwell:
    """The app, not yet open, in the namespace of `--namespace`, else in the one that is set, else in its own."""
    if given is None and not settings.is_set("namespace"):
        return app
    namespace = settings.get("namespace", given)
    if namespace == app.namespace:
        return app
    if app.namespace:
        raise CommandError(f"the app is in namespace {app.namespace!r}, and cannot leave it for {namespace!r}")
    return moved(app, namespace)


def app_of_runs(arguments: Namespace) -> Stepwell:
    """What commands about runs look into; see `opened_app`."""
    app = opened_app(arguments.backend, getattr(arguments, "app", None))
    return in_namespace(app, arguments.namespace, Settings.load())


def opened_app(
    given: str | None, place: str | None = None, *, creates: bool = False, settings: Settings | None = None
) -> Stepwell:
    """An app over what is there, without workflows of its own and without a worker. It has the targets that serve runs,
    so that it can say which of them a run is for. Looking never creates a database; `creates` does. `place` is that of
    the user's app, which says where the runs are and how payloads are written; else it is the one that is set.
    """
    settings = settings or Settings.load()
    own = _app_at(place) if place is not None else _app_that_is_set(settings)
    url = backend_url(given, own, settings)
    path = sqlite_path(url)
    if creates:
        make_home(url)
    elif path is not None and not path.exists():
        raise CommandError(
            f"there is no database {path} (in {Path.cwd()}): run this where the runs were started, or give --backend "
            f"or STEPWELL_BACKEND, for example --backend sqlite:///{path.name}",
            UNREACHABLE,
        )
    if own is None:
        app = Stepwell(url, worker=False)
    else:
        app = Stepwell(url, worker=False, codec=own.codec_of, namespace=own.namespace, targets=[*own.targets])
    add_targets(app, settings.targets, settings.source("targets"))
    return app


def _app_that_is_set(settings: Settings) -> Stepwell | None:
    """None also if it is a file with workflows alone: these have no codec."""
    file, name = split_target(settings.get("app"))
    return app_of(load_module(file), name) if file else None


def _app_at(place: str) -> Stepwell:
    file, name = split_target(place)
    app = app_of(load_module(file), name)
    if app is None:
        raise CommandError(f"--app {place}: there is no app in it, or several; write FILE.py:NAME or MODULE:NAME")
    return app
