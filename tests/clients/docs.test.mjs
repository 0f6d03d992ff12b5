/** The clients of docs/clients.md, as they stand there. */
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { promisify } from "node:util";
import { ApolloClient, gql, HttpLink } from "@apollo/client";
import { Client, fetchExchange } from "@urql/core";
import relay from "relay-runtime";
import WebSocket from "ws";
import { startLoquat } from "../server.mjs";
import { MESSAGE_STREAM, SEND_MESSAGE, START_CHAT } from "./documents.mjs";
import { Feed } from "./feed.mjs";
import { CHANGES, CHATS, HISTORY, ROWS } from "./history.mjs";
import { LIVE } from "./live.mjs";
import { startProvider } from "./provider.mjs";
import { startProxy } from "./proxy.mjs";
import { compile, relayed } from "./relay/artifacts.mjs";
import { commit } from "./relay/device.mjs";

const page = resolve(import.meta.dirname, "../../docs/clients.md");
const schemaFile = resolve(import.meta.dirname, "../../schema.graphql");
const require = createRequire(import.meta.url);
const codegen = require.resolve("@graphql-codegen/cli/package.json").replace("package.json", "cjs/bin.js");
const QUERY = "{ viewer { externalId } }";

describe("the clients of docs/clients.md", { timeout: 60_000 }, () => {
  let blocks;
  let folder;
  let loaded = 0;
  let provider;
  let server;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "loquat-docs-"));
    await symlink(join(import.meta.dirname, "node_modules"), join(folder, "node_modules"));
    await cp(schemaFile, join(folder, "schema.graphql"));
    blocks = [...(await readFile(page, "utf8")).matchAll(/```js\n(.*?)```/gs)].map(([, code]) => code);
    assert.equal(blocks.length, 11);
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
    await rm(folder, { recursive: true });
  });

  /** The client of a block, which finds the server here and its tokens by `getToken`. */
  const load = async (code, getToken) => (await loadModule(code, getToken)).client;

  async function loadModule(code, getToken) {
    const here = code
      .replaceAll("https://chat.example.com", server.url)
      .replaceAll("wss://chat.example.com", server.url.replace("http", "ws"))
      .replaceAll("30_000", "500");
    // A module is loaded once for each name.
    const name = `loquatToken${(loaded += 1)}`;
    globalThis[name] = getToken;
    const file = join(folder, `${name}.mjs`);
    await writeFile(file, `const getToken = globalThis.${name};\n${here}`);
    return import(file);
  }

  for (const [block, user, how] of [
    [0, "ann", "over a socket"],
    [3, "dora", "in a multipart answer"],
  ]) {
    it(`Apollo Client sends the token, over HTTP and ${how}`, async (t) => {
      const client = await load(blocks[block], () => server.token(user));
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

  it("Apollo Client asks again for a multipart answer, however often it has broken off", async (t) => {
    const proxy = await startProxy(server.url);
    t.after(() => proxy.stop());
    const code = blocks[3].replace("5_000", "20").replace("https://chat.example.com", proxy.url);
    const client = await load(code, () => server.token("kim"));
    t.after(() => client.stop());
    const answer = provider.answer("kim?");
    const started = await client.mutate({ mutation: gql(START_CHAT), variables: { message: "kim?" } });
    const variables = { messageId: started.data.startChat.reply.id };
    const feed = new Feed();
    client.subscribe({ query: gql(MESSAGE_STREAM), variables }).subscribe({
      next: ({ data, error }) => (error ? feed.error(error) : feed.next(data.messageStream)),
      error: (failure) => feed.error(failure),
      complete: () => feed.complete(),
    });
    for (let cut = 1; cut <= 6; cut += 1) {
      answer.write(`${cut} `);
      await feed.untilContent(answer.text);
      proxy.cut();
    }
    answer.end();
    assert.equal((await feed.finished()).content, answer.text);
  });

  for (const [block, user, how] of [
    [1, "bob", "over a socket"],
    [4, "emil", "as server-sent events"],
  ]) {
    it(`urql sends the token, over HTTP and ${how}`, async (t) => {
      const client = await load(blocks[block], () => server.token(user));
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
    const client = await load(blocks[2], async () => {
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
    const client = await load(blocks[5], () => server.token("fay"));
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

  it("curl hears the events", async (t) => {
    const [, command] = /```sh\n(curl .*?)```/s.exec(await readFile(page, "utf8"));
    const env = { ...process.env, TOKEN: await server.token("lea") };
    const curl = spawn("sh", ["-c", `exec ${command.replaceAll("https://chat.example.com", server.url)}`], { env });
    const closed = once(curl, "close");
    t.after(() => {
      curl.kill();
      return closed;
    });
    let output = "";
    for await (const chunk of curl.stdout.setEncoding("utf8")) {
      output += chunk;
      if (output.includes("event: next")) break;
    }
    assert.match(output, /event: next\ndata: {"data":{"viewerEvents":{"__typename":"ViewerSnapshot"}}/);
  });

  it("Relay sends the token, over HTTP and over a socket, with what its compiler has made", async () => {
    const [, settings] = /```json\n(.*?)```/s.exec(await readFile(page, "utf8"));
    const documents = [START_CHAT, MESSAGE_STREAM].map(relayed);
    const sources = documents.map(({ module, document }) => [module, [document]]);
    // What it writes is TypeScript there: here nothing is left to take its types away.
    const language = JSON.parse(settings.replace("typescript", "javascript"));
    const artifacts = await compile(Object.fromEntries(sources), language);
    const [start, stream] = documents.map(({ name }) => artifacts.get(name));

    const environment = await load(blocks[6], () => server.token("gus"));
    const answer = provider.answer("Gus?");
    answer.write("Yes.");
    answer.end();
    const { startChat } = await commit(environment, { mutation: start, variables: { message: "Gus?" } });
    const variables = { messageId: startChat.reply.id };
    await new Promise((finished, onError) => {
      const onNext = ({ messageStream: { message } }) => message?.content === "Yes." && finished();
      relay.requestSubscription(environment, { subscription: stream, variables, onNext, onError });
    });
  });

  /**
   * A window of two pages on a conversation, of which the first message is edited then.
   *
   * @param {(document: string, variables: object) => Promise<object>} ask the server
   * @param {(input: object) => Promise<unknown>} edit
   * @param {(document: string, variables: object) => object} cached what the cache answers
   */
  async function leavesThePathThatWasLeft(user, ask, edit, cached) {
    const headers = { "content-type": "application/json", ...(await authorizationOf(user)) };
    const other = async (query, variables) => {
      const body = JSON.stringify({ query, variables });
      const response = await fetch(`${server.url}/graphql`, { method: "POST", headers, body });
      return (await response.json()).data;
    };
    const say = (content) => {
      const answer = provider.answer(content);
      answer.write("Yes.");
      answer.end();
      return content;
    };
    const { startChat } = await other(START_CHAT, { message: say(`${user}, first?`) });
    const conversationId = startChat.conversation.id;
    await other(SEND_MESSAGE, { conversationId, content: say(`${user}, second?`), whenBusy: "ENQUEUE" });

    const variables = { id: conversationId, last: ROWS };
    const page = ({ viewer }) => viewer.conversation.messages;
    const { pageInfo } = page(await ask(HISTORY, variables));
    await ask(HISTORY, { ...variables, before: pageInfo.startCursor });
    const contents = () => page(cached(HISTORY, variables)).edges.map(({ node }) => node.content);
    assert.equal(contents().length, 2 * ROWS);
    const [asked] = page(cached(HISTORY, variables)).edges;
    while ((await other(LIVE, { id: conversationId })).viewer.conversation.activeReply) await pause(20);

    await edit({ messageId: asked.node.id, content: say(`${user}, otherwise?`) });
    assert.equal(contents().length, ROWS);
    assert.equal(contents()[0], `${user}, otherwise?`);
  }

  const authorizationOf = async (user) => ({ authorization: `Bearer ${await server.token(user)}` });

  it("Apollo Client's cache puts pages together, and leaves those of another path", async () => {
    const { cache } = await loadModule(blocks[7]);
    const link = new HttpLink({ uri: `${server.url}/graphql`, headers: await authorizationOf("hal") });
    const client = new ApolloClient({ cache, link });
    const ask = async (document, variables) => {
      // As `fetchMore` does.
      const { data } = await client.query({ query: gql(document), variables, fetchPolicy: "network-only" });
      return data;
    };
    const edit = (input) => client.mutate({ mutation: gql(CHANGES.edit), variables: { input } });
    const cached = (document, variables) => client.readQuery({ query: gql(document), variables });
    await leavesThePathThatWasLeft("hal", ask, edit, cached);
  });

  it("Graphcache puts pages together, and leaves those of another path", async () => {
    await writeFile(join(folder, "introspect.mjs"), blocks[8]);
    await promisify(execFile)(process.execPath, ["introspect.mjs"], { cwd: folder });
    const { cache } = await loadModule(blocks[9]);
    const client = new Client({
      url: `${server.url}/graphql`,
      fetchOptions: { headers: await authorizationOf("ivy") },
      exchanges: [cache, fetchExchange],
    });
    const ask = async (document, variables) => (await client.query(document, variables)).data;
    const edit = (input) => client.mutation(CHANGES.edit, { input });
    const cached = (document, variables) => client.readQuery(document, variables).data;
    await leavesThePathThatWasLeft("ivy", ask, edit, cached);
  });

  it("graphql-codegen reads the running server", async () => {
    await writeFile(join(folder, "codegen.mjs"), blocks[10].replaceAll("https://chat.example.com", server.url));
    await mkdir(join(folder, "src"));
    await writeFile(join(folder, "src/chat.ts"), `import { graphql } from "./gql";\ngraphql(\`${CHATS}\`);\n`);
    const env = { ...process.env, TOKEN: await server.token("joe") };
    await promisify(execFile)(process.execPath, [codegen, "--config", "codegen.mjs"], { cwd: folder, env });
    assert.match(await readFile(join(folder, "src/gql/graphql.ts"), "utf8"), /export type ChatsQuery =/);
  });
});
