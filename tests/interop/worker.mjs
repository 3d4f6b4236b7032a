// Workflows on the SDK of the system that we replace, served with its own handler: what our orchestrator must drive.
import { createServer } from "node:http";
import { FatalError, workflow } from "@voyant-travel/workflows";
import { createHmacVerifier } from "@voyant-travel/workflows/auth";
import { createStepHandler } from "@voyant-travel/workflows/handler";

const fail = (message, code) => { throw Object.assign(new Error(message), { code }); };
async function* items(...values) { yield* values; }

const bodies = {
  async basic(input, ctx) {
    const loaded = await ctx.step("load", async () => ({ total: input.n * 2 }));
    ctx.metadata.set("phase", "loaded");
    ctx.metadata.increment("n", 2);
    ctx.metadata.append("log", "a");
    const random = ctx.random(), uuid = ctx.randomUUID(), before = ctx.now();
    await ctx.sleep(60);
    const slept = ctx.now() - before;
    const approval = await ctx.waitForSignal("approve", { timeout: "1d" });
    ctx.metadata.increment("n");
    const { number, tags } = ctx.run;
    return { loaded, random, uuid, slept: slept >= 50, approval, number, tags, environment: ctx.environment.name };
  },
  async timeouts(_, ctx) {
    const nothing = await ctx.waitForSignal("never", { timeout: 40 });
    try {
      await ctx.waitForEvent("never", { timeout: 40, onTimeout: "throw" });
    } catch (error) {
      return { nothing, thrown: error.message };
    }
  },
  async several(_, ctx) {
    const [x, y] = await Promise.all([ctx.waitForEvent("x"), ctx.waitForEvent("y"), ctx.sleep(30)]);
    return { x, y };
  },
  async ticks(_, ctx) {
    const seen = [];
    for await (const tick of ctx.waitForEvent("tick")) seen.push(tick);
    return seen;
  },
  async child(input, ctx) {
    await ctx.sleep(20);
    if (input.bad) fail("child bad", "E_CHILD");
    return input.value * 10;
  },
  async parent(_, ctx) {
    const child = { id: "child" };
    const value = await ctx.invoke(child, { value: 4 });
    const detached = await ctx.invoke(child, { value: 5 }, { detach: true });
    const error = await ctx.invoke(child, { bad: true }).catch(({ message, code }) => ({ message, code }));
    return { value, detached: detached ?? null, error };
  },
  async saga(input, ctx) {
    const refund = async () => { if (input.broke) fail("refund refused"); };
    await ctx.step("reserve", { compensate: async () => {} }, async () => 1);
    await ctx.step("charge", { compensate: refund }, async () => 2);
    fail("ship failed");
  },
  async fatal(_, ctx) {
    await ctx.step("charge", { retry: { max: 3 } }, async () => { throw new FatalError("no way"); });
  },
  async flaky(_, ctx) {
    let tries = 0;
    return ctx.step("load", { retry: { max: 3 } }, async () => (++tries < 3 ? fail("again") : tries));
  },
  async token(_, ctx) {
    const token = await ctx.waitForToken({});
    return { id: token.tokenId, value: await token.wait() };
  },
  async streams(_, ctx) {
    await ctx.stream.text("text", items("a", "b"));
    await ctx.stream.json("json", items({ a: 1 }));
    await ctx.stream.bytes("bytes", items(new Uint8Array([1, 2, 3])));
    await ctx.sleep(10);
    return "done";
  },
  async group(_, ctx) {
    try {
      await ctx.group("g", async (scope) => {
        await scope.step("a", { compensate: async () => {} }, async () => 1);
        fail("inner");
      });
    } catch (error) {
      return error.message;
    }
  },
  async parallel(_, ctx) {
    return ctx.parallel([1, 2, 3], (n) => ctx.step(`square:${n}`, async () => n * n), { concurrency: 2 });
  },
  async many(input, ctx) {
    for (let n = 0; n < input.waits; n++) await ctx.sleep(1);
    return "all";
  },
};

for (const [id, run] of Object.entries(bodies)) workflow({ id, run });

const handle = createStepHandler({ verifyRequest: await createHmacVerifier("s3cret") });
const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const closed = new AbortController();
  response.on("close", () => closed.abort());
  const { method, headers } = request;
  const body = method === "POST" ? Buffer.concat(chunks) : undefined;
  const answer = await handle(new Request("http://worker/", { method, headers, body, signal: closed.signal }));
  response.writeHead(answer.status, Object.fromEntries(answer.headers));
  response.end(Buffer.from(await answer.arrayBuffer()));
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
