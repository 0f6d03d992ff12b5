/** The clients of docs/clients.md, as they stand there. */
import assert from "node:assert/strict";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { gql } from "@apollo/client";
import WebSocket from "ws";
import { startLoquat } from "../server.mjs";
import { MESSAGE_STREAM, START_CHAT } from "./documents.mjs";
import { startProvider } from "./provider.mjs";

const page = resolve(import.meta.dirname, "../../docs/clients.md");
const QUERY = "{ viewer { externalId } }";

describe("the clients of docs/clients.md", { timeout: 60_000 }, () => {
  let blocks;
  let provider;
  let server;

  before(async () => {
    blocks = [...(await readFile(page, "utf8")).matchAll(/```js\n(.*?)```/gs)].map(([, code]) => code);
    assert.equal(blocks.length, 6);
    provider = await startProvider();
    server = await startLoquat({
      ...provider.settings,
      JWT_LEEWAY_SECONDS: "0",
      LOQUAT_SHUTDOWN_GRACE_SECONDS: "0",
    });
    // What browsers have, and this Node may not.
    globalThis.WebSocket ??= WebSocket;
  });

  after(async () => {
    await server?.stop();
    await provider?.stop();
  });

  /** The client of a block, which finds the server here and its tokens by `getToken`. */
  async function load(t, code, getToken) {
    const here = code
      .replaceAll("https://chat.example.com", server.url)
      .replaceAll("wss://chat.example.com", server.url.replace("http", "ws"))
      .replaceAll("30_000", "500");
    const name = `loquatToken${blocks.indexOf(code)}`;
    globalThis[name] = getToken;
    const file = join(import.meta.dirname, `.docs-${process.pid}-${name}.mjs`);
    await writeFile(file, `const getToken = globalThis.${name};\n${here}`);
    t.after(() => rm(file));
    return (await import(file)).client;
  }

  for (const [block, user, how] of [
    [0, "ann", "over a socket"],
    [3, "dora", "in a multipart answer"],
  ]) {
    it(`Apollo Client sends the token, over HTTP and ${how}`, async (t) => {
      const client = await load(t, blocks[block], () => server.token(user));
      t.after(() => client.stop());
      const { data } = await client.query({ query: gql(QUERY) });
      assert.equal(data.viewer.externalId, user);

      const question = `${user}?`;
      const answer = provider.answer(question);
      const started = await client.mutate({ mutation: gql(START_CHAT), variables: { message: question } });
      const variables = { messageId: started.data.startChat.reply.id };
      const events = [];
      answer.write("Yes.");
      answer.end();
      await new Promise((complete, error) => {
        const next = (event) => events.push(event.data.messageStream);
        client.subscribe({ query: gql(MESSAGE_STREAM), variables }).subscribe({ next, error, complete });
      });
      assert.equal(events.at(-1).message.content, "Yes.");
    });
  }

  for (const [block, user, how] of [
    [1, "bob", "over a socket"],
    [4, "emil", "as server-sent events"],
  ]) {
    it(`urql sends the token, over HTTP and ${how}`, async (t) => {
      const client = await load(t, blocks[block], () => server.token(user));
      const { data } = await client.query(QUERY, {});
      assert.equal(data.viewer.externalId, user);

      const question = `${user}?`;
      const answer = provider.answer(question);
      const started = await client.mutation(START_CHAT, { message: question });
      const variables = { messageId: started.data.startChat.reply.id };
      answer.write("Yes.");
      answer.end();
      await new Promise((finished, failed) => {
        client.subscription(MESSAGE_STREAM, variables).subscribe(({ data, error }) => {
          if (error) failed(error);
          if (data?.messageStream.message?.content === "Yes.") finished();
        });
      });
    });
  }

  it("graphql-ws keeps its socket beyond the end of its first token", async (t) => {
    const ends = [];
    const client = await load(t, blocks[2], async () => {
      ends.push(Date.now() + 2_000);
      return server.token("cleo", "2s");
    });
    t.after(() => client.dispose());
    const answer = provider.answer("Still there?");
    const asked = client.iterate({ query: START_CHAT, variables: { message: "Still there?" } });
    const { value } = await asked.next();
    // It hangs up after that, with nothing left to hear.
    await asked.return();
    ends.length = 0;
    let sockets = 0;
    client.on("connected", () => (sockets += 1));
    const variables = { messageId: value.data.startChat.reply.id };
    const events = client.iterate({ query: MESSAGE_STREAM, variables });
    answer.write("Yes, ");
    await events.next();
    const [firstEnd] = ends;
    await pause(firstEnd + 1_500 - Date.now());
    answer.write("still.");
    answer.end();
    let last;
    for await (const { data } of events) last = data.messageStream;
    assert.equal(last.message.content, "Yes, still.");
    assert.equal(sockets, 1);
  });

  it("graphql-sse sends the token with everything", async (t) => {
    const client = await load(t, blocks[5], () => server.token("fay"));
    t.after(() => client.dispose());
    const answer = provider.answer("Fay?");
    const { value } = await client.iterate({ query: START_CHAT, variables: { message: "Fay?" } }).next();
    const variables = { messageId: value.data.startChat.reply.id };
    answer.write("Yes.");
    answer.end();
    let last;
    for await (const { data } of client.iterate({ query: MESSAGE_STREAM, variables })) last = data.messageStream;
    assert.equal(last.message.content, "Yes.");
  });
});
