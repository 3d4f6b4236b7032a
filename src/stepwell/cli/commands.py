"""Every command with its options, one sentence and an example. The code is imported when it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from stepwell.cli.options import (
    Parser,
    backend,
    config,
    filters,
    include,
    json,
    logging,
    many,
    namespace,
    option,
    reason,
    run_id,
    runs,
    serving,
    target,
    worker,
)


class Command(NamedTuple):
    """One command; two words in `name` are group and command. `code` is `module:function`."""

    name: str
    code: str
    help: str
    example: str
    options: tuple[Callable[[Parser], object], ...] = ()


_key_id = option("key", metavar="ID", help="the key's id, as `stepwell keys list` shows it")

COMMANDS = (
    Command(
        "demo",
        "stepwell.cli.demo.story:demo",
        "watch a workflow that is killed half way and goes on",
        "stepwell demo",
        (
            option("--seconds", type=float, default=8.0, metavar="N", help="how slow the steps are made (default 8)"),
            option("--dir", metavar="DIR", help="where its files go (default ./.stepwell/demo)"),
        ),
    ),
    Command(
        "run",
        "stepwell.cli.run:run",
        "run a workflow here; the same --id again attaches and goes on",
        "stepwell run orders.py:checkout --input '{\"id\": 7}' --id order-7",
        (
            option("target", metavar="FILE:WORKFLOW", help="where the workflow is"),
            option("--input", metavar="JSON", help="its input; @FILE reads a file, - reads stdin"),
            option("--id", metavar="ID", help="the run's id (default: a new one)"),
            backend,
            namespace,
        ),
    ),
    Command(
        "worker",
        "stepwell.cli.work:worker",
        "work on due runs until SIGTERM or Ctrl-C, then drain",
        "stepwell worker orders:app --queues default,slow --concurrency 100",
        (
            target,
            worker,
            logging,
            config,
            backend,
            namespace,
        ),
    ),
    Command(
        "dev",
        "stepwell.cli.dev:dev",
        "serve workflows to yourself, and start anew whenever a file is saved",
        "stepwell dev orders.py",
        (
            target,
            option("--port", type=int, metavar="N", help="the port on 127.0.0.1 (default 7788; 0: a free one)"),
            option("--no-reload", action="store_true", help="do not look at files"),
            logging,
            config,
            backend,
        ),
    ),
    Command(
        "serve",
        "stepwell.cli.serve:serve",
        "serve the HTTP API, and work on runs, until SIGTERM or Ctrl-C",
        "stepwell serve orders.py --port 7788",
        (target, serving, worker, logging, config, backend),
    ),
    Command(
        "step-worker",
        "stepwell.cli.steps:step_worker",
        "run workflows for an orchestrator elsewhere, which keeps their runs",
        "stepwell step-worker orders:app --port 7789 --secret-env ORDERS_SECRET",
        (
            target,
            option("--host", default="127.0.0.1", metavar="H", help="the address to listen on (default 127.0.0.1)"),
            option("--port", type=int, default=7789, metavar="N", help="the port (default 7789; 0: a free one)"),
            option(
                "--secret-env",
                action="append",
                default=[],
                metavar="NAME",
                help="the environment variable with the secret that requests are signed with; repeat it to replace one",
            ),
            option("--require-v2", action="store_true", help="take only requests with our second signature, too"),
            option("--open", action="store_true", help="listen to other machines without a secret"),
            option("--concurrency", type=int, default=100, metavar="N", help="invocations at a time (default 100)"),
            option("--ready-fd", type=int, metavar="N", help="write a line of JSON there when it answers"),
            logging,
            config,
        ),
    ),
    Command(
        "runs list",
        "stepwell.cli.runs:list_runs",
        "list runs, newest first",
        "stepwell runs list --status failed --since 1d",
        (
            filters,
            option("--limit", type=int, default=50, metavar="N", help="at most so many (default 50)"),
            option("--cursor", metavar="C", help="go on after the page that gave this cursor"),
            json,
            runs,
        ),
    ),
    Command(
        "runs show",
        "stepwell.cli.show:show",
        "draw what happened to a run",
        "stepwell runs show order-7",
        (
            run_id,
            option(
                "--all", action="store_true", help="every step and node on a line of its own, also those of a fan-out"
            ),
            option("--at", type=int, metavar="SEQ", help="the nodes of a blueprint as of this frame (see runs events)"),
            option("--mermaid", action="store_true", help="the nodes of a blueprint as a diagram, in their colours"),
            json,
            runs,
        ),
    ),
    Command(
        "runs events",
        "stepwell.cli.show:events",
        "print a run's journal, entry by entry",
        "stepwell runs events order-7 --follow",
        (run_id, option("--follow", action="store_true", help="until the run ends"), json, runs),
    ),
    Command(
        "runs explain",
        "stepwell.cli.show:explain",
        "say why a run is not moving, and what to do",
        "stepwell runs explain order-7",
        (run_id, json, runs),
    ),
    Command(
        "runs export",
        "stepwell.cli.show:export",
        "write a run with its whole history as JSON",
        "stepwell runs export order-7 > order-7.json",
        (run_id, runs),
    ),
    Command(
        "runs cancel",
        "stepwell.cli.steer:cancel",
        "ask runs to stop; they may clean up",
        "stepwell runs cancel order-7 --reason 'wrong address' --grace 30s",
        (
            many,
            reason,
            option("--grace", metavar="TIME", help="terminate if it has not stopped by then"),
            json,
            runs,
        ),
    ),
    Command(
        "runs terminate",
        "stepwell.cli.steer:terminate",
        "end runs at once, without cleanup",
        "stepwell runs terminate order-7",
        (many, reason, json, runs),
    ),
    Command(
        "runs pause",
        "stepwell.cli.steer:pause",
        "start nothing new in runs until they are resumed",
        "stepwell runs pause --workflow checkout --yes",
        (many, reason, json, runs),
    ),
    Command(
        "runs resume",
        "stepwell.cli.steer:resume",
        "let paused runs go on, or a node of a blueprint that waits",
        "stepwell runs resume watch-1 --node approve --action yes",
        (
            many,
            option("--node", metavar="NODE", help="let this wait node of the run go on"),
            option("--action", metavar="NAME", help="along the edges with this action"),
            option("--output", metavar="JSON", help="the node's output; @FILE reads a file, - stdin"),
            json,
            runs,
        ),
    ),
    Command(
        "runs retry",
        "stepwell.cli.steer:retry",
        "try failed runs again from their first failed step, as new runs",
        "stepwell runs retry --status failed --workflow checkout --yes",
        (many, json, runs),
    ),
    Command(
        "runs fork",
        "stepwell.cli.steer:fork",
        "start a new run that shares the beginning of another",
        "stepwell runs fork order-7 --from-step charge --edit reserve='{\"ok\": true}'",
        (
            run_id,
            option("--from-step", required=True, metavar="STEP", help="the first step that is done again"),
            option(
                "--edit", action="append", default=[], metavar="STEP=JSON", help="another result for an earlier step"
            ),
            option("--id", metavar="ID", help="the new run's id"),
            json,
            runs,
        ),
    ),
    Command(
        "send",
        "stepwell.cli.messages:send",
        "send a signal to a run",
        'stepwell send order-7 approval \'{"by": "ada"}\'',
        (
            run_id,
            option("signal", metavar="SIGNAL", help="the signal's name"),
            option("value", metavar="JSON", nargs="?", default="null", help="its value; @FILE reads a file, - stdin"),
            option("--message-id", metavar="ID", help="sending the same id again counts once"),
            json,
            runs,
        ),
    ),
    Command(
        "publish",
        "stepwell.cli.messages:publish",
        "publish an event to every run that waits for it",
        "stepwell publish paid '{\"order\": 7}'",
        (
            option("event", metavar="EVENT", help="the event's name"),
            option("value", metavar="JSON", nargs="?", default="null", help="its value; @FILE reads a file, - stdin"),
            json,
            runs,
        ),
    ),
    Command(
        "complete",
        "stepwell.cli.messages:complete",
        "complete a hook by its token",
        "stepwell complete hk_... '{\"ok\": true}'",
        (
            option("token", metavar="TOKEN", help="the hook's token"),
            option("value", metavar="JSON", nargs="?", default="null", help="its value; @FILE reads a file, - stdin"),
            json,
            runs,
        ),
    ),
    Command(
        "blueprint lint",
        "stepwell.cli.blueprint:lint",
        "say what is wrong with blueprints, or probably not meant so",
        "stepwell blueprint lint price_watch.json --include nodes.py",
        (
            option("files", nargs="+", metavar="FILE", help="JSON files, or FILE.py:BLUEPRINT"),
            include,
            option("--input", metavar="JSON", help="an input as runs will have it: its fields are known names"),
            option("--strict", action="store_true", help="fail on warnings too"),
            json,
        ),
    ),
    Command(
        "blueprint show",
        "stepwell.cli.blueprint:show",
        "show the nodes of a blueprint, and its shape",
        "stepwell blueprint show price_watch.json --mermaid",
        (
            option("file", nargs="?", metavar="FILE", help="a JSON file, or FILE.py:BLUEPRINT"),
            include,
            option("--mermaid", action="store_true", help="print a diagram in Mermaid's language"),
            option("--schema", action="store_true", help="print the JSON Schema of blueprint files, for editors"),
            option("--json", action="store_true", help="print what of the file means something, as JSON"),
        ),
    ),
    Command(
        "blueprint run",
        "stepwell.cli.blueprint:run",
        "run a blueprint here; the same --id again attaches and goes on",
        'stepwell blueprint run price_watch.json --include nodes.py --input \'{"item": "desk"}\' --id watch-1',
        (
            option("file", metavar="FILE", help="a JSON file, or FILE.py:BLUEPRINT"),
            include,
            option("--input", metavar="JSON", help="its input; @FILE reads a file, - reads stdin"),
            option("--id", metavar="ID", help="the run's id (default: a new one)"),
            backend,
            namespace,
        ),
    ),
    Command(
        "check",
        "stepwell.cli.check:check",
        "find what replay cannot repeat; with --live, replay the runs there against this code",
        "stepwell check orders.py --live sqlite:///orders.db",
        (
            option("files", nargs="+", metavar="FILE", help="files with workflows, or folders of them"),
            option("--live", metavar="URL", help="replay the runs of this backend, which is only read"),
            option(
                "--sample",
                default="200",
                metavar="N",
                help="live runs to replay of each workflow, or all (default 200)",
            ),
            option(
                "--finished", default="50", metavar="N", help="finished runs to replay of each workflow (default 50)"
            ),
            option("--strict", action="store_true", help="fail on warnings too"),
            option("-v", "--verbose", action="store_true", help="name every run, not only some for each reason"),
            json,
        ),
    ),
    Command(
        "sim",
        "stepwell.cli.sim:sim",
        "try the engine itself: simulate workers, clients and faults from random seeds",
        "stepwell sim --seeds 10000",
        (
            option("--seeds", type=int, metavar="N", help="how many seeds to try (default 200)"),
            option("--from", dest="first", type=int, metavar="N", help="the first of them (default: a random one)"),
            option("--jobs", type=int, metavar="N", help="how many processes (default: one for each core)"),
            option("--failures", type=int, metavar="N", help="stop when so many seeds have failed (default 1)"),
            option("--seed", type=int, metavar="N", help="replay this seed"),
            option("--scenario", metavar="FILE", help="replay the scenario in this file"),
            option("--no-shrink", action="store_true", help="report a failure as it is, not the smallest of its kind"),
            option("-v", "--verbose", action="store_true", help="tell of a replay also if nothing went wrong"),
            json,
        ),
    ),
    Command(
        "purge",
        "stepwell.cli.purge:purge",
        "delete runs that ended long ago",
        "stepwell purge --older-than 30d --status completed --dry-run",
        (
            option("--older-than", required=True, metavar="AGE", help="ended at least so long ago: 30d"),
            option("--status", action="append", metavar="S", help="only of this status; repeat it, or write a,b"),
            option("--workflow", metavar="NAME", help="only of this workflow"),
            option("--dry-run", action="store_true", help="only say how many"),
            option("--yes", action="store_true", help="do not ask"),
            json,
            backend,
            namespace,
        ),
    ),
    Command(
        "keys create",
        "stepwell.cli.keys:create",
        "make an API key for the server; its secret is shown this once",
        "stepwell keys create --name shop --scopes read,trigger --expires 90d",
        (
            option("--name", default="", metavar="TEXT", help="what it is for"),
            option(
                "--scopes", default="read", metavar="A,B", help="of read, trigger, signal, admin=all (default: read)"
            ),
            option(
                "--namespace", default="", metavar="NAME", help="the namespace it is for (default: the default one)"
            ),
            option("--expires", metavar="TIME", help="after so long it is refused: 90d (default: never)"),
            json,
            backend,
        ),
    ),
    Command(
        "keys list",
        "stepwell.cli.keys:list_keys",
        "list API keys, without their secrets",
        "stepwell keys list",
        (option("--namespace", metavar="NAME", help="only those of this namespace"), json, backend),
    ),
    Command(
        "keys revoke",
        "stepwell.cli.keys:revoke",
        "refuse an API key from now on, and its tokens",
        "stepwell keys revoke 0f3a7d2b91c45e68",
        (_key_id, json, backend),
    ),
    Command(
        "keys rotate",
        "stepwell.cli.keys:rotate",
        "give an API key another secret",
        "stepwell keys rotate 0f3a7d2b91c45e68 --grace 24h",
        (
            _key_id,
            option(
                "--grace", default="0s", metavar="TIME", help="how long the secret so far is still taken (default 0s)"
            ),
            json,
            backend,
        ),
    ),
    Command(
        "keys rotate-tokens",
        "stepwell.cli.keys:rotate_tokens",
        "use another secret for short-lived tokens",
        "stepwell keys rotate-tokens --now",
        (option("--now", action="store_true", help="refuse all tokens that were issued so far"), json, backend),
    ),
    Command(
        "config",
        "stepwell.cli.config:config",
        "show every setting, and where its value comes from",
        "stepwell config",
        (config, json),
    ),
    Command(
        "doctor",
        "stepwell.cli.doctor:doctor",
        "check this machine, the backend and a sample of the journals",
        "stepwell doctor --json",
        (
            option("--sample", type=int, default=100, metavar="N", help="runs to look into (default 100)"),
            json,
            backend,
        ),
    ),
)
GROUPS = {
    "runs": "list runs, look into them, steer them",
    "blueprint": "check, show and run blueprints",
    "keys": "make, list, rotate and revoke API keys of the server",
}
