// A step worker in plain JavaScript: it runs workflows for an orchestrator, over HTTP, without any package.
//
//   PORT=8801 STEP_SECRET=... node node_worker.mjs
//
// Each request holds the whole journal of a run. The body of the workflow runs from its top: what the journal has is
// taken from there, what it has not is done now, until the body ends or has to wait. The answer says which, and holds
// the journal with what is new. So nothing is kept here between two requests, and the worker may be killed at any time.

import { createHmac, timingSafeEqual } from "node:crypto";
import { appendFileSync } from "node:fs";
import { createServer } from "node:http";

const { PORT = "0", LISTEN_FD, STEP_SECRET = "", LEDGER = "" } = process.env;
const BODY_MAX = 32 * 2 ** 20;
const workflows = new Map();
const workflow = (id, run, options = {}) => workflows.set(id, { id, run, options });

// --- the workflows

workflow("invoice.issue", async (input, ctx) => {
  const booking = await ctx.step("load", () => ({ id: input.booking, total: input.nights * 80 }));
  ctx.metadata.set("phase", "approval");
  const release = () => { if (input.room === "stuck") throw new Error("nobody answers"); effect(ctx, "release"); };
  await ctx.step("reserve", { compensate: release }, () => effect(ctx, "reserve"));
  await ctx.sleep(50);
  const approval = await ctx.waitForSignal("approve", { timeout: "1d" });
  if (approval === null || !approval.ok) await ctx.compensate();
  const receipt = await ctx.step("charge", { retry: { max: 3, initial: 20 } }, async ({ attempt, signal }) => {
    if (input.card === "refused") throw Object.assign(new Error("card refused"), { code: "FATAL" });
    if (input.card === "slow") await pause(60_000, signal);
    if (input.card === "shaky" && attempt < 2) throw new Error("the card terminal is busy");
    return effect(ctx, "charge");
  });
  ctx.metadata.set("phase", "charged");
  const parcel = await ctx.invoke("parcel.ship", { booking: booking.id, kilos: input.nights });
  return { invoice: `inv-${booking.id}`, total: booking.total, receipt, parcel };
});

workflow("report.write", async (input, ctx) => {
  const sample = ctx.random(), id = ctx.randomUUID(); // the same in each invocation of this run
  ctx.metadata.increment("reports");
  const square = (part) => ctx.step(`part:${part}`, () => part * part);
  const numbers = await ctx.parallel(input.parts, square, { concurrency: 2 });
  const paid = ctx.waitForEvent("paid");
  const token = await ctx.waitForToken({ tokenId: `report:${ctx.run.id}` });
  const [payment, signature] = await Promise.all([paid, token.wait()]);
  await ctx.stream.text("lines", numbers.map((number) => `line ${number}`));
  return { id, sample, sum: numbers.reduce((sum, number) => sum + number, 0), payment, signature };
});

workflow("watch.count", async (input, ctx) => {
  if (!(input.until > 0)) throw Object.assign(new Error("until: give a number above 0"), { code: "VALIDATION" });
  let count = 0;
  for await (const tick of ctx.waitForSignal("tick")) {
    count += tick.by;
    if (count >= input.until) break;
  }
  return count;
});

// What a step does to the world: here, a line in a file. A step whose answer was lost runs again. So the line holds a
// key that is the same then, and whoever reads the file counts it once.
function effect(ctx, name) {
  if (LEDGER) appendFileSync(LEDGER, `${ctx.run.id}:${name}\n`);
  return `${name}:${ctx.run.id}`;
}

// --- one invocation

class Waiting extends Error {}
class Cancelled extends Error {}
class Undo extends Error {}

async function invocation(flow, request, signal, cancel) {
  const journal = request.journal;
  const waitpoints = [], metadataUpdates = [], streamChunks = [], compensations = [];
  const random = generator(request.runId);
  let counter = 0, now = request.runMeta.startedAt, retry = flow.options.retry;

  // Before anything new. Who asked has gone, or has died and will ask again: then stop. Only who says that the run is
  // cancelled wants it undone.
  const check = () => { if (cancel !== undefined || signal.aborted) throw new Cancelled(cancel ?? "nobody listens"); };

  // A wait that is over gives what it brought; any other one ends this invocation.
  async function resolved(kind, clientWaitpointId, meta, { timeout, onTimeout } = {}) {
    const found = journal.waitpointsResolved[clientWaitpointId];
    if (found === undefined) {
      check();
      const wait = { clientWaitpointId, kind, meta, ...(timeout ? { timeoutMs: milliseconds(timeout) } : {}) };
      waitpoints.push(wait);
      throw new Waiting(clientWaitpointId);
    }
    now = found.resolvedAt;
    if (found.error) throw revived(found.error);
    const noun = kind === "MANUAL" ? `token ${meta.tokenId}` : `waitpoint ${clientWaitpointId}`;
    if (!("payload" in found) && onTimeout === "throw") throw new Error(`${noun} timed out`);
    return found.payload;
  }

  // To be awaited once, or to be iterated over.
  function waitFor(kind, name, member, options) {
    const prefix = `${kind.toLowerCase()}:${name}`, meta = { [member]: name };
    const id = `${prefix}:${++counter}`;
    const once = async () => (await resolved(kind, id, meta, options)) ?? null;
    async function* each() {
      for (;;) {
        const value = (await resolved(kind, `${prefix}:iter:${++counter}`, { ...meta, iter: true }, options)) ?? null;
        if (value?.__voyantStreamEnd === true) return;
        yield value;
      }
    }
    return { then: (done, failed) => once().then(done, failed), [Symbol.asyncIterator]: each, close() {} };
  }

  async function step(id, options, body) {
    if (body === undefined) [options, body] = [{}, options];
    const entry = journal.stepResults[id] ?? (journal.stepResults[id] = await attempts(id, options, body));
    now = entry.finishedAt;
    if (entry.status === "err") throw revived(entry.error);
    if (options.compensate) compensations.push({ stepId: id, undo: () => options.compensate(entry.output) });
    return entry.output;
  }

  async function attempts(id, options, body) {
    const policy = options.retry ?? retry;
    const max = policy ? Math.max(1, policy.max ?? 3) : 1;
    for (let attempt = 1; ; attempt++) {
      check();
      const startedAt = Date.now();
      const entry = (status, more) =>
        ({ attempt, status, ...more, startedAt, finishedAt: Date.now(), runtime: "node" });
      try {
        const output = await limited(id, options.timeout, signal, (signal) => body({ signal, attempt, log }));
        return entry("ok", { output });
      } catch (error) {
        if (signal.aborted) throw new Cancelled("nobody listens");
        if (error?.code === "FATAL" || attempt >= max) return entry("err", { error: serialized(error) });
        await pause(Math.min((policy.initial ?? 1000) * 2 ** (attempt - 1), 1000));
      }
    }
  }

  async function stream(id, encoding, source) {
    if (journal.streamsCompleted[id]) return;
    check();
    let seq = 0;
    const send = (chunk, final) =>
      streamChunks.push({ streamId: id, seq: ++seq, encoding, chunk, final, at: Date.now() });
    for await (const chunk of source)
      send(encoding === "base64" ? Buffer.from(chunk).toString("base64") : chunk, false);
    send(null, true);
    journal.streamsCompleted[id] = { chunkCount: seq };
  }

  // Undoes what was done since there were so many compensations, last things first.
  async function undo(from = 0) {
    const reports = [];
    for (const { stepId, undo } of compensations.splice(from).reverse()) {
      const start = Date.now();
      const report = (status, error) => reports.push({ stepId, status, ...error, durationMs: Date.now() - start });
      await Promise.resolve().then(undo)
        .then(() => report("ok"), (error) => report("err", { error: serialized(error) }));
    }
    return reports;
  }

  async function group(name, body) {
    const from = compensations.length;
    const scope = { step, compensate: async () => { await undo(from); throw new Undo(name); } };
    try {
      return await body(scope);
    } catch (error) {
      if (![Waiting, Cancelled, Undo].some((kind) => error instanceof kind)) await undo(from);
      throw error;
    }
  }

  async function parallel(items, body, { concurrency = items.length } = {}) {
    const results = [], queue = [...items.entries()], errors = [];
    const work = async () => {
      for (let next; (next = queue.shift()) !== undefined && errors.length === 0; )
        await body(next[1], next[0]).then((value) => { results[next[0]] = value; }, (error) => errors.push(error));
    };
    await Promise.all(Array.from({ length: Math.max(1, concurrency) }, work)); // what has begun is let end
    if (errors.length > 0) throw errors[0];
    return results;
  }

  const change = (op) => (key, value) =>
    void metadataUpdates.push({ op, key, ...(value === undefined ? {} : { value }) });
  const log = (level, message, data) => console.error(level, message, data ?? "");
  const tenant = request.tenantMeta;
  const ctx = {
    run: { id: request.runId, ...request.runMeta },
    workflow: { id: flow.id, version: request.workflowVersion },
    environment: { name: request.environment }, invocationCount: request.invocationCount, signal,
    project: { id: tenant.projectId, slug: tenant.projectSlug ?? tenant.projectId },
    organization: { id: tenant.organizationId, slug: tenant.organizationSlug ?? tenant.organizationId },
    now: () => now, random, randomUUID: () => uuid(random),
    step, group, parallel, setRetry: (policy) => { retry = policy; },
    compensate: async () => { throw new Undo("the workflow undoes its steps"); },
    sleep: async (time) => {
      const ms = milliseconds(time);
      await resolved("DATETIME", `sleep:${++counter}`, { durationMs: ms }, { timeout: ms || undefined });
    },
    waitForEvent: (type, options) => waitFor("EVENT", type, "eventType", options),
    waitForSignal: (name, options) => waitFor("SIGNAL", name, "signalName", options),
    waitForToken: async (options = {}) => {
      const tokenId = options.tokenId ?? `tok_${++counter}`;
      const wait = async () => (await resolved("MANUAL", `token:${tokenId}`, { tokenId }, options)) ?? null;
      return { tokenId, url: `/__voyant/tokens/${tokenId}`, wait };
    },
    invoke: (id, childInput, { detach = false, tags = [], lockToVersion, idempotencyKey } = {}) => resolved("RUN",
      `invoke:${id}:${++counter}`, { childWorkflowId: id, childInput, detach, tags, lockToVersion, idempotencyKey }),
    stream: Object.assign((id, make) => stream(id, "json", make()), {
      text: (id, source) => stream(id, "text", source),
      json: (id, source) => stream(id, "json", source),
      bytes: (id, source) => stream(id, "base64", source),
    }),
    metadata: { set: change("set"), increment: change("increment"), append: change("append"), remove: change("remove"),
      flush: async () => {} },
  };

  const answer = (status, more) => ({ status, ...more, metadataUpdates, journal, streamChunks });
  const undone = async (error) => {
    const reports = await undo();
    const status = reports.some((report) => report.status === "err") ? "compensation_failed" : "compensated";
    return answer(status, { ...(error ? { error: serialized(error) } : {}), compensations: reports });
  };
  try {
    const output = await flow.run(request.input, ctx);
    return waitpoints.length > 0 ? answer("waiting", { waitpoints }) : answer("completed", { output });
  } catch (error) {
    if (error instanceof Cancelled) return answer("cancelled", { compensations: signal.aborted ? [] : await undo() });
    if (error instanceof Undo) return undone();
    if (waitpoints.length > 0) return answer("waiting", { waitpoints });
    return compensations.length > 0 ? undone(error) : answer("failed", { error: serialized(error) });
  }
}

function serialized(error) {
  if (!(error instanceof Error)) return { category: "USER_ERROR", code: "UNKNOWN", message: String(error) };
  const code = typeof error.code === "string" ? error.code : "UNKNOWN";
  const more = { ...(error.cause ? { cause: serialized(error.cause) } : {}),
    ...(error.retryAfter === undefined ? {} : { data: { retryAfter: error.retryAfter } }) };
  return { category: "USER_ERROR", code, message: error.message, name: error.name, stack: error.stack, ...more };
}

const revived = ({ message, code }) => Object.assign(new Error(message), { code });

function milliseconds(time) {
  const units = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };
  const match = /^(\d+)(ms|s|m|h|d|w)$/.exec(time);
  if (typeof time !== "number" && !match) throw new Error(`invalid duration: ${time}`);
  return match ? Number(match[1]) * units[match[2]] : time;
}

function pause(ms, signal) {
  return new Promise((done, failed) => {
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", () => { clearTimeout(timer); failed(signal.reason); });
  });
}

async function limited(id, timeout, signal, body) {
  if (!timeout) return body(signal);
  const ms = milliseconds(timeout), limit = AbortSignal.timeout(ms);
  const late = Object.assign(new Error(`step "${id}" timed out after ${ms}ms`), { code: "TIMEOUT" });
  const over = new Promise((_, failed) => limit.addEventListener("abort", () => failed(late)));
  return Promise.race([body(AbortSignal.any([signal, limit])), over]);
}

// The same numbers for the same run, each time: mulberry32, seeded with the FNV-1a of the run's id.
function generator(text) {
  let state = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) state = Math.imul(state ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function uuid(random) {
  const bytes = Buffer.from(Array.from({ length: 16 }, () => Math.floor(random() * 256)));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

// --- HTTP

const REQUIRED = { protocolVersion: "number", runId: "string", workflowId: "string", workflowVersion: "string",
  invocationCount: "number", journal: "object", environment: "string", deadline: "number", tenantMeta: "object",
  runMeta: "object" };

class Refused extends Error {
  constructor(status, code, message) { super(message); Object.assign(this, { status, code }); }
}

function checkSignature(header, body) {
  const refuse = (text) => { throw new Refused(401, "unauthorized", text); };
  if (!header) refuse("missing x-voyant-dispatch-auth header");
  const given = Buffer.from(header, "base64"), expected = createHmac("sha256", STEP_SECRET).update(body).digest();
  if (given.toString("base64") !== header) refuse("malformed x-voyant-dispatch-auth header (expected base64)");
  if (given.length !== expected.length || !timingSafeEqual(given, expected))
    refuse("x-voyant-dispatch-auth signature does not match request body");
}

function read(body) {
  const invalid = (text) => { throw new Refused(400, "invalid_request", text); };
  let value;
  try {
    value = JSON.parse(body);
  } catch (error) {
    throw new Refused(400, "invalid_json", error.message);
  }
  const isObject = (item) => typeof item === "object" && item !== null && !Array.isArray(item);
  if (!isObject(value)) invalid("request body must be an object");
  for (const name of Object.keys(REQUIRED)) if (!(name in value)) invalid(`missing required field "${name}"`);
  for (const [name, type] of Object.entries(REQUIRED))
    if (type === "object" ? !isObject(value[name]) : typeof value[name] !== type)
      invalid(`field "${name}" must be of type ${type}`);
  if (value.protocolVersion !== 1) throw new Refused(426, "protocol_version_mismatch", "this worker speaks version 1");
  return value;
}

async function answerTo(request, signal) {
  if (request.method !== "POST") throw new Refused(405, "method_not_allowed", "a step worker takes POST");
  const parts = [];
  let size = 0;
  for await (const part of request) {
    size += part.length;
    if (size > BODY_MAX) throw new Refused(413, "body_too_large", `the body is larger than ${BODY_MAX} bytes`);
    parts.push(part);
  }
  const body = Buffer.concat(parts);
  if (STEP_SECRET) checkSignature(request.headers["x-voyant-dispatch-auth"], body);
  const asked = read(body);
  const flow = workflows.get(asked.workflowId);
  const cancel = request.headers["x-stepwell-cancel"];
  if (flow) return invocation(flow, asked, signal, cancel === undefined ? undefined : decodeURIComponent(cancel));
  throw new Refused(404, "workflow_not_found", `workflow "${asked.workflowId}" is not registered in this bundle`);
}

const server = createServer(async (request, response) => {
  const leaving = new AbortController();
  response.on("close", () => leaving.abort());
  let status = 200, value;
  try {
    value = await answerTo(request, leaving.signal);
  } catch (error) {
    status = error.status ?? 500;
    value = { error: error.status ? error.code : "executor_error", message: error.message };
  }
  const headers = { "content-type": "application/json; charset=utf-8", "x-stepwell-speaks": "cancel" };
  response.writeHead(status, headers).end(JSON.stringify(value));
});

const place = LISTEN_FD ? { fd: Number(LISTEN_FD) } : { port: Number(PORT), host: "127.0.0.1" };
server.listen(place, () => console.log(`listening on ${server.address().port}`));
