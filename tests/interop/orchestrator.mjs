// The orchestrator of the system that we replace, driving a worker of ours: `orchestrator.mjs URL`. Each line on stdin
// is a scenario: which workflow, and what is injected into it when it waits. Each line on stdout is a record.
import { createInterface } from "node:readline";
import { createHmacSigner } from "@voyant-travel/workflows/auth";
import {
  createHttpStepHandler, createInMemoryRunStore, resume, resumeDueAlarms, trigger,
} from "@voyant-travel/workflows-orchestrator";

const target = { url: process.argv[2], fetch: (request) => fetch(request) };
const sign = await createHmacSigner("s3cret");
const handler = createHttpStepHandler({ resolveTarget: () => target, sign });
const store = createInMemoryRunStore();
const deps = { store, handler };
const tenantMeta = { tenantId: "t", projectId: "p", organizationId: "o" };
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

for await (const line of createInterface({ input: process.stdin })) {
  const { workflow, runId, input, inject = [] } = JSON.parse(line);
  const start = { workflowId: workflow, workflowVersion: "v1", runId, tenantMeta, tags: ["invoice"], environment: "preview" };
  let record = await trigger({ ...start, ...(input === undefined ? {} : { input }) }, deps);
  const firstPending = record.pendingWaitpoints;
  for (let turn = 0; turn < 400 && record.status === "waiting"; turn++) {
    for (const run of await store.list()) await resumeDueAlarms({ runId: run.id }, deps);
    const injected = inject.length ? await resume({ runId, injection: inject[0] }, deps) : { ok: false };
    if (injected.ok) inject.shift();
    record = await store.get(runId);
    if (record.status === "waiting" && !injected.ok) await pause(10);
  }
  console.log(JSON.stringify({ ...record, firstPending }));
}
