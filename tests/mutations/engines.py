"""Mistakes of the engine: the driver, the fold, the function program, its mailbox, notes, acts and loop."""

from tests.mutations.registry import Edit, Mutation

_DRIVER = "engine.driver:Driver"
_FOLD = "engine.fold:Fold"
_PROGRAM = "engine.function:FunctionProgram"
_MAILBOX = "engine.mailbox:Mailbox"
_NOTES = "engine.notes:Notes"
_OUTSIDE = "engine.outside:Outside"

ENGINES = (
    Mutation(
        name="message journaled twice",
        says="a message that was loaded twice is journaled twice",
        stands_for="3",
        edits=(Edit(f"{_DRIVER}._take_received", "if entry.no <= self.mail:", "if False:"),),
    ),
    Mutation(
        name="retry counter lost on takeover",
        says="the next owner does not know which attempts have failed",
        stands_for="2",
        edits=(Edit(f"{_FOLD}._learn", "self.attempts[id] = entry", "pass"),),
    ),
    Mutation(
        name="one attempt too many",
        says="a step with three attempts gets a fourth",
        stands_for="2",
        edits=(Edit("engine.retry:next_delay_ms", "attempt >= retry.attempts", "attempt > retry.attempts"),),
    ),
    Mutation(
        name="compensation not journaled",
        says="what a saga undid is not written down",
        stands_for="2",
        edits=(
            Edit(
                f"{_DRIVER}._take_outcome",
                "pop(entry.id, None)\n        decision",
                'pop(entry.id, None)\n        if not entry.id.startswith("unbook"):\n            decision',
            ),
        ),
    ),
    Mutation(
        name="result not journaled",
        says="a result that comes together with others is applied and not written down",
        stands_for="2",
        edits=(
            Edit(
                f"{_DRIVER}._take_outcome",
                "pop(entry.id, None)\n        decision",
                "pop(entry.id, None)\n        if not decision.entries:\n            decision",
            ),
        ),
    ),
    Mutation(
        name="timer fired early",
        says="a timer fires as soon as something else happens within two seconds before it",
        stands_for="7",
        edits=(
            Edit(
                f"{_DRIVER}._fire_timers",
                "program.due_timers(min(until, at))",
                "program.due_timers(min(until, at) + 2000)",
            ),
        ),
    ),
    Mutation(
        name="timers before messages",
        says="after a standstill, a wait times out although its message came in time",
        stands_for="H21",
        edits=(
            Edit(
                f"{_DRIVER}.feed",
                "for arrival in sorted(arrivals, key=arrival_order):",
                "self._fire_timers(decision, at, at)\n        for arrival in sorted(arrivals, key=arrival_order):",
            ),
        ),
    ),
    Mutation(
        name="retries not waited for",
        says="a run lets go without a word of the attempt that is due later",
        stands_for="4",
        edits=(
            Edit(
                f"{_DRIVER}.next_wake",
                "times.extend(command.not_before for command in self._delayed.values())",
                "pass",
            ),
        ),
    ),
    Mutation(
        name="seq counted twice",
        says="a worker skips a place in the journal when a frame begins acts",
        stands_for="1",
        edits=(Edit(f"{_DRIVER}.committed", "self.seq += 1", "self.seq += 1 + (len(decision.acts) > 1)"),),
    ),
    Mutation(
        name="starts during a pause",
        says="a run that is paused starts the steps that it asks for",
        stands_for="4",
        edits=(Edit(f"{_DRIVER}._collect", "decision.start.clear()", "pass"),),
    ),
    Mutation(
        name="results lost in a pause",
        says="what came while a run was paused is forgotten at its resume",
        stands_for="7",
        edits=(Edit(f"{_DRIVER}._resume", "for line in held:", "for line in held[1:]:"),),
    ),
    Mutation(
        name="pause forgotten on takeover",
        says="the next owner does not know that a run is paused",
        stands_for="8",
        edits=(Edit(f"{_FOLD}._read_received", "self.is_paused = True", "pass"),),
    ),
    Mutation(
        name="starts after the end",
        says="a run that is terminated starts what its body has just asked for",
        stands_for="5",
        edits=(
            Edit(
                f"{_DRIVER}._collect",
                "if self.ended is None:",
                "if self.ended is not None:\n        self._collect_commands(decision)\n    if self.ended is None:",
            ),
            Edit(f"{_DRIVER}._end", "decision.start.clear()", "pass"),
            Edit(
                "runtime.activation:Activation._follow",
                "if self.driver.ended is not None:",
                "for command in decision.start:\n"
                "        if self.driver.ended is not None:\n"
                "            self._start(command)\n"
                "    if self.driver.ended is not None:",
            ),
            Edit("runtime.activation:Activation._ended", "self._stop_steps()", "pass"),
        ),
    ),
    Mutation(
        name="steps go on after the end",
        says="the steps of a run that has ended are not told to stop",
        stands_for="6",
        edits=(
            Edit("runtime.activation:Activation._ended", "self._stop_steps()", "self.running.clear()"),
            Edit(f"{_DRIVER}._end", "decision.stop.extend(id for id in self.steps if id not in self._delayed)", "pass"),
        ),
    ),
    Mutation(
        name="abandoned steps go on",
        says="a step that nobody waits for any more is not told to stop",
        stands_for="6",
        edits=(Edit(f"{_DRIVER}._collect_abandon", "decision.stop.append(id)", "pass"),),
    ),
    Mutation(
        name="grace without end",
        says="a cancel with a grace waits for ever",
        stands_for="4",
        edits=(Edit(f"{_FOLD}.cancelled", "if request.grace_ms is not None:", "if False:"),),
    ),
    Mutation(
        name="cancel forgotten on takeover",
        says="a cancel that was journaled is not replayed",
        stands_for="8",
        edits=(Edit(f"{_FOLD}._read_received", "self.lines.append(line)", "pass"),),
    ),
    Mutation(
        name="mail count lost",
        says="a generation does not know how many messages the ones before it have journaled",
        stands_for="3",
        edits=(Edit("engine.generations:continued", "mail=fold.mail", "mail=0"),),
    ),
    Mutation(
        name="unread mail lost",
        says="messages that nobody asked for do not reach the next generation",
        stands_for="3",
        edits=(Edit(f"{_PROGRAM}._run", "self.mailbox.unread()", "()"),),
    ),
    Mutation(
        name="children inherited",
        says="a generation begins while children of the one before go on",
        stands_for="H14",
        edits=(Edit(f"{_DRIVER}._continue", "in self.fold.children_to_cancel():", "in []:"),),
    ),
    Mutation(
        name="generations share ids",
        says="the first child of a generation has the id of the first child of the one before",
        stands_for="H14",
        edits=(Edit("model.ids:child_run_id", "{parent}.{base}.{command}.{seed}", "{parent}.{command}.{seed}"),),
    ),
    Mutation(
        name="answers of another generation",
        says="the end of a child counts for its namesake in another generation",
        stands_for="H14",
        edits=(
            Edit(
                f"{_FOLD}.is_stale",
                "return base != self.origin.base or not isinstance(act, StartChild) or act.child != child",
                "return not isinstance(act, StartChild)",
            ),
        ),
    ),
    Mutation(
        name="parent not told",
        says="a child that fails owes its parent nothing",
        stands_for="H5",
        edits=(
            Edit(
                f"{_FOLD}.obligations",
                "if parent is not None and",
                'if parent is not None and self.ended.status != "failed" and',
            ),
        ),
    ),
    Mutation(
        name="children left alone",
        says="a run that ends does not cancel its children",
        stands_for="5",
        edits=(Edit(f"{_FOLD}.obligations", "in self.children_to_cancel():", "in []:"),),
    ),
    Mutation(
        name="open acts left alone",
        says="a run that ends forgets the acts that are not confirmed",
        stands_for="9",
        edits=(Edit(f"{_FOLD}.obligations", "[ActCommand(id, act) for id, act in self.open_acts.items()]", "[]"),),
    ),
    Mutation(
        name="intention not journaled",
        says="a child is started by a run whose journal does not say so",
        stands_for="9",
        edits=(
            Edit(
                f"{_DRIVER}._collect_act",
                "decision.entries.append(Intended(id=command.id, act=command.act))",
                "if decision.entries:\n            decision.entries.append(Intended(id=command.id, act=command.act))",
            ),
        ),
    ),
    Mutation(
        name="confirmation not journaled",
        says="an act is confirmed in memory only",
        stands_for="9",
        edits=(
            Edit(
                f"{_DRIVER}._take",
                "if id in self.fold.open_acts:\n                decision.entries.append(entry)",
                "if id in self.fold.open_acts:\n                pass",
            ),
        ),
    ),
    Mutation(
        name="message lost by a timeout",
        says="a message that reaches a wait in the moment of its timeout is not given back",
        stands_for="3",
        edits=(
            Edit(
                f"{_MAILBOX}._give_up",
                "if future.done() and not future.cancelled() and future.exception() is None:",
                "if False:",
            ),
        ),
    ),
    Mutation(
        name="waiters that are gone",
        says="a message is handed to a wait that has been given up",
        stands_for="3",
        edits=(Edit(f"{_MAILBOX}._give_up", "if waiting and waiter in waiting:", "if False:"),),
    ),
    Mutation(
        name="last come, first served",
        says="the newest of several messages is received first",
        stands_for="3",
        edits=(
            Edit(
                f"{_MAILBOX}._enlist", "next((item for item in buffer if", "next((item for item in reversed(buffer) if"
            ),
        ),
    ),
    Mutation(
        name="chunks sent again",
        says="on replay, a body sends its chunks again",
        stands_for="8",
        edits=(Edit(f"{_NOTES}.send", "if k >= self._known_sent.get(stream, 0):", "if True:"),),
    ),
    Mutation(
        name="patches not remembered",
        says="on replay, ctx.patched() answers that the code is old",
        stands_for="8",
        edits=(Edit(f"{_NOTES}.patched", "is_known = id in self._known_patches", "is_known = False"),),
    ),
    Mutation(
        name="metadata of others",
        says="metadata that the journal holds is not read, and is written again",
        stands_for="8",
        edits=(Edit(f"{_NOTES}.read", "self._known_metadata.update(values)", "self.metadata.update(values)"),),
    ),
    Mutation(
        name="children not cancelled",
        says="a body that gives up waiting for a child lets it go on",
        stands_for="5",
        edits=(Edit(f"{_OUTSIDE}.call_child", "self.cancel_child(id, act.child)\n        raise", "raise"),),
    ),
    Mutation(
        name="time of the worker",
        says="on replay, the body sees the time of its origin",
        stands_for="8",
        edits=(Edit(f"{_PROGRAM}.begin", "loop.now_ms = line.at", "loop.now_ms = at"),),
    ),
    Mutation(
        name="sets in disorder",
        says="tasks hash by their addresses, so that sets of them iterate in any order",
        stands_for="8",
        edits=(
            Edit("engine.tasks:WorkflowTask.__hash__", "return self._number", "return id(self) // 64"),
            Edit("engine.tasks:WorkflowFuture.__hash__", "return self._number", "return id(self) // 64"),
        ),
    ),
    Mutation(
        name="history taken ahead",
        says="on replay, a step is answered at once although others are ready to run",
        stands_for="8",
        edits=(Edit(f"{_PROGRAM}.run_step", "and loop.fast and not loop.ready", ""),),
    ),
    Mutation(
        name="commands repeated",
        says="after a replay, steps that have ended are started again",
        stands_for="2",
        edits=(Edit(f"{_PROGRAM}.begin", "or command.id in self._pending", "or True"),),
    ),
)
