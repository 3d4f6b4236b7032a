"""Mistakes about bodies that live elsewhere: in the program, in its steps, and in what becomes of children."""

from tests.mutations.registry import Edit, Mutation

_PROGRAM = "engine.remote.program:RemoteProgram"
_JOURNAL = "engine.remote.journal:Journal"
_OUTSIDE = "engine.remote.outside:Outside"
_STEP = "runtime.steps:RunningStep"

ELSEWHERE = (
    Mutation(
        name="wait stamped anew",
        says="a wait ends so long after it was named last, not after it was named first",
        stands_for="7",
        edits=(Edit(f"{_PROGRAM}._stamp", "if known is not None:", "if False:"),),
    ),
    Mutation(
        name="message lost in an invocation",
        says="a message that comes while the body runs elsewhere is dropped",
        stands_for="3",
        edits=(Edit(f"{_PROGRAM}._feed_received", "self._post.keep(entry)", "pass"),),
    ),
    Mutation(
        name="child's end lost in an invocation",
        says="a child that ends while the body runs elsewhere has not ended",
        stands_for="3",
        edits=(Edit(f"{_PROGRAM}._await_child", "received = self._post.take(wait, None)", "received = None"),),
    ),
    Mutation(
        name="confirmation lost in an invocation",
        says="a child that is started or refused while the body runs elsewhere stays open",
        stands_for="9a3f322",
        edits=(Edit(f"{_PROGRAM}._feed_confirmed", "self._excused[entry.id] = entry.failure", "pass"),),
    ),
    Mutation(
        name="changes applied twice",
        says="each change of metadata that an answer brings counts twice",
        stands_for="7",
        edits=(
            Edit(
                f"{_PROGRAM}._answered",
                "for change in answer.changes:",
                "for change in (*answer.changes, *answer.changes):",
            ),
        ),
    ),
    Mutation(
        name="changes not counted",
        says="it is forgotten how many changes of metadata have been applied",
        stands_for="7",
        edits=(Edit(f"{_JOURNAL}.add", "self.changed = max(self.changed, answer.changed)", "pass"),),
    ),
    Mutation(
        name="one message for all changes above",
        says="changes for a parent have the same id whichever invocation brought them",
        stands_for="7",
        edits=(Edit(f"{_OUTSIDE}.change_above", '"@metadata.{target}[{number}]"', '"@metadata.{target}"'),),
    ),
    Mutation(
        name="children of all waits are one",
        says="the id of a child is made of its workflow, not of the wait that it is for",
        stands_for="9",
        edits=(
            Edit(f"{_OUTSIDE}._child_id", "origin.base, name, origin.seed", 'origin.base, CommandId(""), origin.seed'),
        ),
    ),
    Mutation(
        name="keyed child of a fork",
        says="a child that has its id from a key keeps it in a fork",
        stands_for="6aad043",
        edits=(
            Edit(
                "engine.prefix:rebased",
                "act=_renamed(entry.act, new.child(name))",
                "act=_renamed(entry.act, new.child(name)) if name == entry.id else entry.act",
            ),
        ),
    ),
    Mutation(
        name="waits go on in an invocation",
        says="a message ends a wait that the body may not name any more",
        stands_for="2",
        edits=(Edit(f"{_PROGRAM}._invoke", "self._pending.clear()", "pass"),),
    ),
    Mutation(
        name="timers go on in an invocation",
        says="the timer of a wait fires while the body runs elsewhere",
        stands_for="7",
        edits=(Edit(f"{_PROGRAM}._invoke", "self._timers.pending.pop(timer.n, None)", "pass"),),
    ),
    Mutation(
        name="events not subscribed to",
        says="nobody who publishes learns that a body elsewhere waits for it",
        stands_for="7",
        edits=(Edit(f"{_PROGRAM}._await", "self._outside.subscribe(wait.name)", "pass"),),
    ),
    Mutation(
        name="what the worker keeps is lost",
        says="members of the journal that only the worker knows do not come back to it",
        stands_for="2",
        edits=(Edit(f"{_JOURNAL}.add", "self.more.update(answer.more)", "pass"),),
    ),
    Mutation(
        name="no chance to clean up",
        says="a run whose worker knows cancels is cancelled without a word to it",
        stands_for="5",
        edits=(Edit(f"{_PROGRAM}._cancelled", "if self._can_clean_up:", "if False:"),),
    ),
    Mutation(
        name="step of a lost invocation",
        says="a step is journaled although the invocation that ran it was given up",
        stands_for="6",
        edits=(Edit("engine.driver:Driver._take_outcome", "if entry.via in self.steps:", "if True:"),),
    ),
    Mutation(
        name="notes of an attempt that is over",
        says="what a dispatcher notes is journaled although its attempt is over",
        stands_for="2",
        edits=(
            Edit(f"{_STEP}._save", "and self.task is not None", ""),
            Edit(f"{_STEP}.note", "if self.task is not None:", "if True:"),
        ),
    ),
    Mutation(
        name="steps without their chunks",
        says="the steps of an invocation that goes on are journaled before their chunks are in the streams",
        stands_for="7",
        edits=(Edit(f"{_STEP}.save_notes", "if not self._streams:", "if True:"),),
    ),
    Mutation(
        name="failed attempts without their chunks",
        says="the steps of an invocation that failed are journaled before their chunks are in the streams",
        stands_for="7",
        edits=(Edit(f"{_STEP}._flush_noted", "if self._noted and self._streams:", "if False:"),),
    ),
    Mutation(
        name="notes forgotten",
        says="the steps that an answer brings are not journaled",
        stands_for="2",
        edits=(
            Edit(f"{_STEP}._run", "self.owner.arrive(entry, now, before=self._noted)", "self.owner.arrive(entry, now)"),
        ),
    ),
    Mutation(
        name="chunks of the dead",
        says="of a run that has killed its workers, the streams lack what only the journal holds",
        stands_for="88ed492",
        edits=(
            Edit("runtime.activation:Activation.bury", "self._writers.copy(self.driver.fold.take_sends())", "pass"),
        ),
    ),
)
