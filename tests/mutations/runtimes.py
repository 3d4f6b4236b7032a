"""Mistakes of the runtime: activation, worker, acts, committer, leases, streams, payloads, client."""

from tests.mutations.registry import Edit, Mutation

_ACTIVATION = "runtime.activation:Activation"
_WORKER = "runtime.worker:Worker"
_ACTS = "runtime.acts:Acts"
_CLIENT = "runtime.client:Client"
_WRITER = "runtime.chunks:StreamWriter"

RUNTIMES = (
    Mutation(
        name="step started before its dependency is durable",
        says="steps begin when a frame is submitted, not when it is written",
        stands_for="2",
        edits=(
            Edit(
                f"{_ACTIVATION}._submit",
                "self._in_flight = decision",
                "self._in_flight = decision\n    for command in decision.start:\n        self._start(command)",
            ),
        ),
    ),
    Mutation(
        name="acts before their intention is durable",
        says="a child is created when the intention is submitted, not when it is written",
        stands_for="H9",
        edits=(
            Edit(
                f"{_ACTIVATION}._submit",
                "self._in_flight = decision",
                "self._in_flight = decision\n    self._begin_acts(decision.acts)",
            ),
        ),
    ),
    Mutation(
        name="plain result fenced by nothing",
        says="what fires timers and drains mail is written without a look at the owner",
        stands_for="H18",
        edits=(Edit(f"{_ACTIVATION}._append", "driver.claim if is_guarded else None", "None"),),
    ),
    Mutation(
        name="end without its count of mail",
        says="the end is written without saying which messages its writer has seen",
        stands_for="H6",
        edits=(Edit(f"{_ACTIVATION}._append", "driver.mail if driver.ended is not None else None", "None"),),
    ),
    Mutation(
        name="cancel lost while parking",
        says="a run that sleeps until later lets go without saying which messages it has seen",
        stands_for="H1",
        edits=(Edit(f"{_ACTIVATION}._park", "mail=driver.mail,", "mail=driver.mail if wake_at is None else None,"),),
    ),
    Mutation(
        name="mail of the end left out",
        says="a message that comes before the end is counted, and not written into its frame",
        stands_for="H6",
        edits=(
            Edit(
                f"{_ACTIVATION}._add_mail_to_end",
                "self.driver.add_mail(decision, messages)",
                "self.driver.fold.mail = max(message.no for message in messages)",
            ),
        ),
    ),
    Mutation(
        name="refused frame taken for written",
        says="a worker goes on although another frame has its place",
        stands_for="6",
        edits=(Edit(f"{_ACTIVATION}._appended", 'if answer == "ok":', 'if answer in ("ok", "exists"):'),),
    ),
    Mutation(
        name="lost run taken for held",
        says="a worker goes on although the store says that the run is another's",
        stands_for="6",
        edits=(Edit(f"{_ACTIVATION}._appended", 'if answer == "ok":', 'if answer in ("ok", "lost"):'),),
    ),
    Mutation(
        name="frame grows while it is repeated",
        says="an append that got no answer is repeated with what has arrived meanwhile, under the same number",
        stands_for="H13",
        edits=(
            Edit(
                f"{_ACTIVATION}._append",
                "self.worker.appends.submit(append, self._appended, is_wanted=self._is_wanted)",
                "def is_wanted():\n"
                "        if self.is_gone or self._in_flight is not decision or not self._arrivals or driver.ended:\n"
                "            return not self.is_gone\n"
                "        arrivals, self._arrivals = self._arrivals, []\n"
                "        more = driver.feed(arrivals, self.worker.clock.now())\n"
                "        decision.entries += more.entries\n"
                "        decision.start += more.start\n"
                "        decision.stop += more.stop\n"
                "        decision.acts += more.acts\n"
                "        self._append(decision, FrameCodec.encode(driver.frame(decision)))\n"
                "        return False\n"
                "    self.worker.appends.submit(append, self._appended, is_wanted=is_wanted)",
            ),
            Edit(
                "backends.memory.store:MemoryStore._append",
                'return "ok" if there == frame.body else "exists"',
                'return "ok" if frame.owner in (None, run.head.owner) else "exists"',
            ),
        ),
    ),
    Mutation(
        name="settled with the end",
        says="the end of a run that owes something is its last change",
        stands_for="H5",
        edits=(
            Edit(
                "runtime.heads:head_change",
                "is_settled = not driver.obligations() and not sends",
                "is_settled = True",
            ),
        ),
    ),
    Mutation(
        name="settled before its chunks",
        says="a run counts as settled while chunks of its body are on their way",
        stands_for="7",
        edits=(
            Edit(
                "runtime.heads:head_change",
                "is_settled = not driver.obligations() and not sends",
                "is_settled = not driver.obligations()",
            ),
        ),
    ),
    Mutation(
        name="settled after the first",
        says="a run that owes several things is settled when the first is done",
        stands_for="5",
        edits=(
            Edit(f"{_ACTIVATION}._settle_all", "in self.driver.obligations():", "in self.driver.obligations()[:1]:"),
        ),
    ),
    Mutation(
        name="a dead worker has no children",
        says="a failed act counts as confirmed",
        stands_for="9",
        edits=(
            Edit(
                f"{_ACTIVATION}._begin_acts",
                "self._tasks[act.id] = self.worker.spawn(self._perform(act))",
                "self.worker.spawn(self._perform(act))\n"
                "            self.arrive(Confirmed(id=act.id, failure=None), self.worker.clock.now())",
            ),
        ),
    ),
    Mutation(
        name="busy runs give way",
        says="a run whose steps are under way parks when others want its place",
        stands_for="6",
        edits=(Edit(f"{_ACTIVATION}.make_room", "and not self.running and not self._tasks", ""),),
    ),
    Mutation(
        name="busy runs park",
        says="a run parks although a step is under way",
        stands_for="4",
        edits=(
            Edit(f"{_ACTIVATION}._rest", "is_busy = bool(self.running or self._tasks)", "is_busy = bool(self._tasks)"),
        ),
    ),
    Mutation(
        name="timers forgotten",
        says="a run that is busy sets no timer",
        stands_for="4",
        edits=(
            Edit(
                f"{_ACTIVATION}._rest",
                "(is_busy or wake_at - now <= self.worker.options.hold_ms)",
                "(not is_busy and wake_at - now <= self.worker.options.hold_ms)",
            ),
        ),
    ),
    Mutation(
        name="later timer kept",
        says="a nearer timer does not replace one that is set",
        stands_for="4",
        edits=(Edit(f"{_ACTIVATION}._set_timer", "if self._timer_at <= wake_at:", "if self._timer_at:"),),
    ),
    Mutation(
        name="progress not shown",
        says="a run that has crashed a few times and goes on is taken for one that kills its workers",
        stands_for="H15",
        edits=(
            Edit(
                "runtime.heads:head_change",
                "return HeadChange(takes=1) if resets_takes else None",
                "return None",
            ),
            Edit(f"{_ACTIVATION}._park", "seq=driver.seq,", "seq=driver.seq,\n            takes=self.head.takes,"),
        ),
    ),
    Mutation(
        name="late outcomes count",
        says="a worker that has lost a run goes on with it",
        stands_for="6",
        edits=(
            Edit(f"{_ACTIVATION}.abandon", "self.is_gone = True", "self.is_gone = False"),
            Edit(f"{_ACTIVATION}.abandon", "self._stop_steps()", "pass"),
            Edit(f"{_ACTIVATION}.abandon", "self.driver.evict()", "pass"),
        ),
    ),
    Mutation(
        name="lost runs keep their steps",
        says="a worker that has lost a run does not tell its steps to stop",
        stands_for="6",
        edits=(Edit(f"{_ACTIVATION}.abandon", "self._stop_steps()", "self.running.clear()"),),
    ),
    Mutation(
        name="stale driver",
        says="a run that was moved on by another worker goes on from what is in memory",
        stands_for="H23",
        edits=(
            Edit(
                f"{_WORKER}._load_one", "if not loaded.frames and head.owner is not None:", "if head.owner is not None:"
            ),
        ),
    ),
    Mutation(
        name="loaded, then claimed",
        says="what a run looked like before it was claimed is what its owner goes on from",
        stands_for="H1",
        edits=(
            Edit(
                f"{_WORKER}._take",
                "taken = await store.take(",
                "hints = await store.peek_due(self.clock.now(), limit)\n"
                "    early = await store.load([Wanted(hint.run) for hint in hints])\n"
                "    early = {item.head.id: item for item in early if item is not None}\n"
                "    taken = await store.take(",
            ),
            Edit(
                f"{_WORKER}._take",
                "await self._load(taken.heads, ends)",
                "await self._load([head for head in taken.heads if head.id not in early], ends)\n"
                "        for head in taken.heads:\n"
                "            if head.id in early and head.id not in self.active:\n"
                "                self._parked.pop(head)\n"
                "                await self._activate_loaded(head, early[head.id], ends)",
            ),
        ),
    ),
    Mutation(
        name="poison never buried",
        says="a run is tried again however often it was claimed without progress",
        stands_for="H15",
        edits=(Edit(f"{_WORKER}._begin", "activation.head.takes > self.options.max_takes", "False"),),
    ),
    Mutation(
        name="drained runs sleep",
        says="a worker that stops parks what it holds until far later",
        stands_for="4",
        edits=(Edit(f"{_ACTIVATION}._rest", "self._park(now)", "self._park(now + 3_600_000)"),),
    ),
    Mutation(
        name="suspects forgotten",
        says="runs that are put off because another one is suspect are never due again",
        stands_for="4",
        edits=(Edit(f"{_WORKER}._without_suspects", "wake_at=later,", "wake_at=later + 86_400_000,"),),
    ),
    Mutation(
        name="adopted without a lease",
        says="a worker counts the lease of a run that it has created from when it was told so",
        stands_for="H22",
        edits=(
            Edit(
                f"{_WORKER}._lease_ends", "self.options.lease_ms - self.options.margin_ms", "3 * self.options.lease_ms"
            ),
        ),
    ),
    Mutation(
        name="lease never renewed",
        says="no lease is ever renewed",
        stands_for="H22",
        edits=(Edit("runtime.renewal:Renewer._renew", "in self._book.claims():", "in ():"),),
    ),
    Mutation(
        name="lease trusted for too long",
        says="a worker believes in a lease that could not be renewed",
        stands_for="H22",
        edits=(
            Edit(
                "runtime.leases:Leases.check_leases", "if item.lease_ends <= now]", "if item.lease_ends <= now - 600]"
            ),
        ),
    ),
    Mutation(
        name="lost leases not heeded",
        says="a worker goes on although the renewal says that the run is another's",
        stands_for="6",
        edits=(Edit("runtime.leases:Leases.renewed", "lost.append(activation)", "activation.lease_ends = lease_ends"),),
    ),
    Mutation(
        name="no answer counts as written",
        says="an append that got no answer is taken for written",
        stands_for="H13",
        edits=(
            Edit(
                "runtime.batching:Batcher._answer",
                "await asyncio.sleep(delay)",
                "for _, done, _ in batch:\n                done('ok')\n            return",
            ),
        ),
    ),
    Mutation(
        name="answers mixed up",
        says="of several frames that were written together, one run is told the answer of another",
        stands_for="2",
        edits=(
            Edit(
                "runtime.batching:Batcher._answer",
                "zip(batch, answers, strict=True)",
                "zip(batch, reversed(answers), strict=True)",
            ),
        ),
    ),
    Mutation(
        name="batches dropped",
        says="what is submitted while a call fails is forgotten",
        stands_for="7",
        edits=(
            Edit(
                "runtime.batching:Batcher._answer",
                "await asyncio.sleep(delay)",
                "await asyncio.sleep(delay)\n            self._waiting.clear()",
            ),
        ),
    ),
    Mutation(
        name="child not created again",
        says="a cancel finds no child, and nobody looks after the one that is still to come",
        stands_for="H9",
        edits=(Edit(f"{_ACTS}._cancel_child", 'answer.answer == "missing" and', "False and"),),
    ),
    Mutation(
        name="own child taken for another's",
        says="a child whose creation is repeated counts as somebody else's",
        stands_for="H9",
        edits=(Edit(f"{_ACTS}._existing_child", "_is_same(entry.parent, parent)", "False"),),
    ),
    Mutation(
        name="signals repeat",
        says="a signal that is sent again after a crash has another id",
        stands_for="9",
        edits=(Edit("runtime.acts:_message_id", "{command}.{lineage(origin.seed)}", "{command}.{driver.claim}"),),
    ),
    Mutation(
        name="events before the wait",
        says="a subscriber does not look for what was published before it subscribed",
        stands_for="3",
        edits=(Edit(f"{_ACTS}._subscribe", "if logged.at >= since:", "if False:"),),
    ),
    Mutation(
        name="token of the living taken",
        says="a hook token is taken from the run that holds it",
        stands_for="H24",
        edits=(Edit(f"{_ACTS}._is_gone", "return loaded is None or loaded.head.is_settled", "return True"),),
    ),
    Mutation(
        name="chunks written again",
        says="the next owner of a run does not see which chunks of its body are in the stream",
        stands_for="7",
        edits=(Edit(f"{_WRITER}._find_end", "self._body = (last.base, last.body)", "pass"),),
    ),
    Mutation(
        name="chunks of generations mixed up",
        says="the chunks of a generation are counted on from those of the one before",
        stands_for="H14",
        edits=(Edit(f"{_WRITER}._encoded", "if (chunk.base, chunk.k) < self._body:", "if chunk.k < self._body[1]:"),),
    ),
    Mutation(
        name="chunks lost in doubt",
        says="chunks whose writing got no answer count as written by somebody else",
        stands_for="7",
        edits=(Edit(f"{_WRITER}._appended", "return list(there.items) == bodies", "return True"),),
    ),
    Mutation(
        name="payload not stored",
        says="a frame refers to a payload whose storing got no answer",
        stands_for="2",
        edits=(
            Edit(
                "runtime.payloads:_spilled",
                "await blobs.put(key, data)",
                "try:\n            await blobs.put(key, data)\n        except BackendError:\n            pass",
            ),
        ),
    ),
    Mutation(
        name="payloads share a key",
        says="the key of a payload says nothing of what is in it",
        stands_for="2",
        edits=(Edit("runtime.payloads:_spilled", "{sha256(data).hexdigest()[:40]}", "payload"),),
    ),
    Mutation(
        name="start repeated as another",
        says="a start that got no answer takes its own run for somebody else's",
        stands_for="7",
        edits=(Edit(f"{_CLIENT}._put", "present is not None and present.created_at == run.head.created_at", "False"),),
    ),
    Mutation(
        name="doubtful run adopted",
        says="a start that meets another's run holds it all the same",
        stands_for="6",
        edits=(
            Edit(f"{_CLIENT}._put", "there is not None and there.frames[0][1] == runs[index].frames[0]", "True"),
            Edit(
                f"{_CLIENT}._put",
                "present is not None and present.created_at == run.head.created_at",
                "present is not None",
            ),
        ),
    ),
    Mutation(
        name="message sent as another",
        says="a message whose delivery got no answer is sent again under another id",
        stands_for="H8",
        edits=(
            Edit(
                f"{_CLIENT}._answered",
                "self.acts.deliver(run, id, message)",
                "self.acts.deliver(run, MessageId(f'{id}.{self._fresh()}'), message)",
            ),
        ),
    ),
    Mutation(
        name="event logged twice",
        says="an event whose logging got no answer is logged again",
        stands_for="3",
        edits=(Edit(f"{_CLIENT}._is_logged", "or (await streams.read(log, index, 1)).items == (body,)", ""),),
    ),
    Mutation(
        name="subscribers not found",
        says="an event does not reach runs that are parked",
        stands_for="3",
        edits=(Edit(f"{_CLIENT}.publish", '"waiting", "paused"', '"paused"'),),
    ),
    Mutation(
        name="waiter told too early",
        says="who waits for a run is told of an end that is not written",
        stands_for="5",
        edits=(
            Edit(
                f"{_ACTIVATION}._submit",
                "self._in_flight = decision",
                "self._in_flight = decision\n"
                "    if (ended := self.driver.ended) is not None:\n"
                "        self.worker.hub.ended(self.run, ended)",
            ),
        ),
    ),
    Mutation(
        name="waiters not told",
        says="who waits for a run in another process is never told of its end",
        stands_for="5",
        edits=(Edit(f"{_CLIENT}._look", "elif loaded.head.is_terminal:", "elif False:"),),
    ),
    Mutation(
        name="fork tells the parent",
        says="a fork of a run begins with what was not settled",
        stands_for="7",
        edits=(
            Edit("runtime.forking:Forking._new", "frames += rebased(prefix,", "frames += rebased(origin.journal[1:],"),
        ),
    ),
)
