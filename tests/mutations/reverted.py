"""Bugs that simulation has found before, each put back: what mended it is undone."""

from tests.mutations.registry import Edit, Mutation

_ACTIVATION = "runtime.activation:Activation"
_DRIVER = "engine.driver:Driver"

REVERTED = (
    Mutation(
        name="cancel of an ended child",
        says="a cancel that the owner before began is left open when the child has ended meanwhile",
        stands_for="26114a7",
        edits=(
            Edit(
                f"{_DRIVER}._continue",
                "if id not in self.fold.acts:",
                "if id not in self.fold.acts or id in self.fold.open_acts:",
            ),
            Edit(
                f"{_DRIVER}._continue",
                "decision.acts = [ActCommand(id, act) for id, act in self.fold.open_acts.items()]",
                "pass",
            ),
        ),
    ),
    Mutation(
        name="cancel overtaken by the creation",
        says="a cancel that finds no child counts as done if the child is confirmed before the answer",
        stands_for="d0888e4",
        edits=(
            Edit(
                "runtime.acts:Acts._cancel_child",
                'if answer.answer == "missing" and',
                'start = driver.fold.open_acts.get(start_id)\n    if answer.answer == "missing" and',
            ),
        ),
    ),
    Mutation(
        name="step started again after a pause",
        says="a step that ended during a pause is started by the worker that takes over",
        stands_for="2edb60a",
        edits=(Edit(f"{_DRIVER}._collect_step", "if self.fold.held and self.fold.holds_outcome(id):", "if False:"),),
    ),
    Mutation(
        name="two looks into the inbox",
        says="a message that was found twice goes twice into the frame of the end",
        stands_for="2edb60a",
        edits=(
            Edit(
                f"{_DRIVER}.add_mail",
                "[fresh[no] for no in sorted(fresh)]",
                "[message for message in messages if message.no > self.mail]",
            ),
        ),
    ),
    Mutation(
        name="restarted run taken for the old one",
        says="a parked run in memory is known by its id alone",
        stands_for="9bf999c",
        edits=(Edit("runtime.parked:_life", "return head.id, head.created_at", "return head.id, 0"),),
    ),
    Mutation(
        name="let go while it settles",
        says="a run is parked between its end and the settling of what it owes",
        stands_for="1b8483a",
        edits=(
            Edit(f"{_ACTIVATION}._ended", "self._cancel_timer()", "pass"),
            Edit(f"{_ACTIVATION}._rest", "or self.driver.ended is not None:", ":"),
        ),
    ),
    Mutation(
        name="notes held back on replay",
        says="what a body noted in the frame of a pause is written again by the next owner",
        stands_for="179fdaa",
        edits=(
            Edit("engine.fold:Fold._read_line", "case MetadataChanged() | Patched() | Dropped():", "case Dropped():"),
        ),
    ),
    Mutation(
        name="namesake of another generation",
        says="a step that ends late counts as the one that has its id in the next generation",
        stands_for="933a7d0",
        edits=(
            Edit(f"{_ACTIVATION}.step_ended", "if self.running.get(step.id) is step:", "if step.id in self.running:"),
            Edit(f"{_ACTIVATION}._follow", "self._stop_steps()\n", "pass\n"),
        ),
    ),
    Mutation(
        name="time of the machine",
        says="a worker whose clock is behind the store's lets go of what is due, again and again",
        stands_for="H20",
        edits=(
            Edit("runtime.storeclock:StoreClock.heard", "if since - _TOLERANCE_MS", "if True or since - _TOLERANCE_MS"),
        ),
    ),
    Mutation(
        name="token of a retry kept",
        says="the token that a retried run makes of its own id is never freed",
        stands_for="80d4407",
        edits=(
            Edit(
                "engine.fold:Fold.lacks",
                "return known is None or (isinstance(known, OpenHook) and known != command.act)",
                "return known is None",
            ),
        ),
    ),
    Mutation(
        name="held before it is read",
        says="a run counts as held, and is renewed, although its payloads cannot be read",
        stands_for="d5fa9ab",
        edits=(
            Edit(
                "runtime.worker:Worker._activate_loaded",
                "mail = await loaded_mail(self.backend.blobs, loaded.mail)",
                "pass",
            ),
            Edit(
                "runtime.worker:Worker._activate_loaded",
                "activation.put_mail(mail)",
                "activation.put_mail(await loaded_mail(self.backend.blobs, loaded.mail))",
            ),
            Edit(
                "runtime.worker:Worker._load_one",
                "mail = await loaded_mail(self.backend.blobs, loaded.mail)",
                "mail = ()",
            ),
            Edit("runtime.worker:Worker._load", "self._unreadable(head.id, head.owner, error)", "raise"),
        ),
    ),
    Mutation(
        name="last chunks of a generation lost",
        says="chunks in the frame that begins a generation are not copied by the next owner",
        stands_for="51b6ced",
        edits=(Edit("engine.fold:Fold._read", "and self._previous]", "and False]"),),
    ),
    Mutation(
        name="chunks overtaken by a generation",
        says="a generation begins before its stream has the chunks of the one before",
        stands_for="51b6ced",
        edits=(Edit(f"{_ACTIVATION}._submit", "if self._writers and", "if False and"),),
    ),
    Mutation(
        name="one look for mail",
        says="a look for mail that fails is not repeated",
        stands_for="608cc65",
        edits=(
            Edit(
                f"{_ACTIVATION}._load_mail",
                'await self._persist("mail", lambda: load_mail(self))',
                "await load_mail(self)",
            ),
        ),
    ),
)
