"""Mistakes of a store, made in the reference backend."""

from tests.mutations.registry import Edit, Mutation

_STORE = "backends.memory.store:MemoryStore"
_SIDE = "backends.memory.side"

STORES = (
    Mutation(
        name="append overwrites",
        says="a frame is written although another has its place",
        stands_for="1",
        edits=(Edit(f"{_STORE}._append", "if there is not None:", "if there == frame.body:"),),
    ),
    Mutation(
        name="append without fence",
        says="a guarded frame is taken from a worker that lost the run",
        stands_for="H18",
        edits=(Edit(f"{_STORE}._append", "frame.owner is not None and", "False and"),),
    ),
    Mutation(
        name="end without mail guard",
        says="the end is written although a message was accepted that its writer has not seen",
        stands_for="H6",
        edits=(Edit(f"{_STORE}._append", "frame.mail is not None and", "False and"),),
    ),
    Mutation(
        name="head change after the frame",
        says="a frame and its head change are two writes, and the second is lost now and then",
        stands_for="1",
        edits=(
            Edit(
                f"{_STORE}._append", "if frame.head is not None:", "if frame.head is not None and len(frame.body) % 5:"
            ),
        ),
    ),
    Mutation(
        name="frames leave holes",
        says="a frame is written at any place that is free",
        stands_for="1",
        edits=(
            Edit(
                f"{_STORE}._append",
                "run.frames[frame.seq] = frame.body",
                "run.frames[frame.seq + (len(frame.body) % 7 == 0)] = frame.body",
            ),
        ),
    ),
    Mutation(
        name="park ignores the inbox",
        says="a run is let go although a message was accepted that its owner has not seen",
        stands_for="H1",
        edits=(Edit(f"{_STORE}._park", "park.mail is not None and", "False and"),),
    ),
    Mutation(
        name="park without fence",
        says="a worker that has lost the run lets it go",
        stands_for="H1",
        edits=(Edit(f"{_STORE}._park", "or run.head.owner != park.owner", ""),),
    ),
    Mutation(
        name="park in two steps",
        says="the guard of a park is read, and a little later the head is written",
        stands_for="H4",
        edits=(
            Edit(
                f"{_STORE}.park",
                "with self._world.lock:\n        return [self._park(park) for park in parks]",
                "import asyncio\n"
                "    seen = {p.run: self._world.runs[p.run].head.mail for p in parks if p.run in self._world.runs}\n"
                "    await asyncio.sleep(0.005)\n"
                "    mails = {run: self._world.runs[run].head.mail for run in seen if run in self._world.runs}\n"
                "    parks = [\n"
                "        replace(p, mail=mails[p.run]) if p.run in mails and p.mail == seen[p.run] else p\n"
                "        for p in parks\n"
                "    ]\n"
                "    return [self._park(park) for park in parks]",
            ),
        ),
    ),
    Mutation(
        name="park leaves no hint",
        says="the index of due runs does not learn when a run that is let go is due",
        stands_for="H17",
        edits=(
            Edit(
                f"{_STORE}._park",
                "self._world.put(run, replace(run.head, owner=None, wake_at=park.wake_at, takes=park.takes, **given))",
                "run.head = replace(run.head, owner=None, wake_at=park.wake_at, takes=park.takes, **given)",
            ),
        ),
    ),
    Mutation(
        name="delivery wakes nobody",
        says="a message for a run that sleeps until later does not make it due now",
        stands_for="H2",
        edits=(Edit(f"{_STORE}._deliver", "min(head.wake_at, now)", "head.wake_at"),),
    ),
    Mutation(
        name="delivery ends the lease",
        says="a message makes a run due although somebody owns it",
        stands_for="H3",
        edits=(Edit(f"{_STORE}._deliver", "if head.owner is not None:", "if False:"),),
    ),
    Mutation(
        name="delivery in two steps",
        says="whether a run is owned is read, and a little later the message is put",
        stands_for="H10",
        edits=(
            Edit(
                f"{_STORE}.deliver",
                "with self._world.lock:\n        return [self._deliver(message, now) for message in messages]",
                "import asyncio\n"
                "    runs = self._world.runs\n"
                "    owned = {m.run for m in messages if m.run in runs and runs[m.run].head.owner is not None}\n"
                "    await asyncio.sleep(0.005)\n"
                "    before = {id: runs[id].head.wake_at for id in owned if id in runs}\n"
                "    answers = [self._deliver(message, now) for message in messages]\n"
                "    for id, wake_at in before.items():\n"
                "        self._world.put(runs[id], replace(runs[id].head, wake_at=wake_at))\n"
                "    return answers",
            ),
        ),
    ),
    Mutation(
        name="ids forgotten when drained",
        says="a message whose delivery is repeated after it was journaled is taken for a new one",
        stands_for="H8",
        edits=(
            Edit(
                f"{_STORE}._append",
                "run.frames[frame.seq] = frame.body",
                "run.frames[frame.seq] = frame.body\n    run.ids.clear()",
            ),
        ),
    ),
    Mutation(
        name="mail after the end",
        says="a message for a run that has ended is accepted",
        stands_for="3",
        edits=(Edit(f"{_STORE}._deliver", "if head.status in TERMINAL:", "if head.is_settled:"),),
    ),
    Mutation(
        name="inbox loses its first",
        says="a worker that loads mail is not given the oldest message that it lacks",
        stands_for="3",
        edits=(Edit(f"{_STORE}._load", "inbox[max(known, 0) :]", "inbox[max(known, 0) + (len(inbox) > 2) :]"),),
    ),
    Mutation(
        name="renew without fence",
        says="a worker that has lost the run renews the lease of its new owner",
        stands_for="H19",
        edits=(Edit(f"{_STORE}.renew", "run.head.owner == claim", "run.head.owner is not None"),),
    ),
    Mutation(
        name="renew moves nothing",
        says="a lease is said to be renewed, and is not",
        stands_for="H22",
        edits=(Edit(f"{_STORE}.renew", "wake_at=until", "wake_at=run.head.wake_at"),),
    ),
    Mutation(
        name="take without a lease",
        says="a claimed run stays due, so that others claim it, too",
        stands_for="H3",
        edits=(Edit(f"{_STORE}._claim", "wake_at=until", "wake_at=self._clock.now() + 50"),),
    ),
    Mutation(
        name="takes not counted",
        says="a run that kills its workers is claimed for ever",
        stands_for="H15",
        edits=(Edit(f"{_STORE}._claim", "takes=head.takes + 1", "takes=head.takes"),),
    ),
    Mutation(
        name="take of settled runs loses others",
        says="a run that has ended and owes something is never claimed again",
        stands_for="H5",
        edits=(
            Edit(
                f"{_STORE}._due",
                "if _serves(serves, run.head):",
                "if run.head.status in TERMINAL:\n            continue\n        if _serves(serves, run.head):",
            ),
        ),
    ),
    Mutation(
        name="a look moves what is due",
        says="who only looks for what is due puts it off",
        stands_for="H12",
        edits=(
            Edit(
                f"{_STORE}.peek_due",
                "return [Due(id, wake_at) for",
                "for _, _, id in due:\n"
                "        found = self._world.runs[id]\n"
                "        if found.head.owner is None:\n"
                "            self._world.put(found, replace(found.head, wake_at=(found.head.wake_at or 0) + 600_000))\n"
                "    return [Due(id, wake_at) for",
            ),
        ),
    ),
    Mutation(
        name="create overwrites",
        says="a run is created again although it is there",
        stands_for="1",
        edits=(Edit(f"{_STORE}.create", "if found is None:", "if found is None or not found.head.is_settled:"),),
    ),
    Mutation(
        name="deletion leaves frames",
        says="a new run finds the frames of the one that had its id before",
        stands_for="H25",
        edits=(
            Edit(f"{_STORE}.delete", "del world.runs[id]", "world.streams['left ' + id] = world.runs.pop(id).frames"),
            Edit(
                f"{_STORE}.create",
                "world.put(run, head)",
                "world.put(run, head)\n"
                "                run.frames = {**world.streams.pop('left ' + head.id, {}), **run.frames}",
            ),
        ),
    ),
    Mutation(
        name="names not freed",
        says="a hook token stays with a run that has ended",
        stands_for="H24",
        edits=(Edit(f"{_STORE}.release", "if self._world.names.get(name) == holder:", "if False:"),),
    ),
    Mutation(
        name="chunks overwrite",
        says="a stream takes chunks although others have their places",
        stands_for="7",
        edits=(Edit(f"{_SIDE}:MemoryStreams.append", "or not there.chunks.keys().isdisjoint(new)", ""),),
    ),
)
