/** The same chat through any client library, as its users write it. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, it } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { startLoquat } from "../server.mjs";
import {
  CONVERSATION,
  CONVERSATION_EVENTS,
  EDIT_MESSAGE,
  MESSAGE_STREAM,
  REGENERATE_REPLY,
  SELECT_VERSION,
  SEND_MESSAGE,
  START_CHAT,
  STOP_REPLY,
} from "./documents.mjs";
import { Feed } from "./feed.mjs";
import { startProvider } from "./provider.mjs";
import { startProxy } from "./proxy.mjs";

/** What a suite may take at most. The libraries wait up to 4 s before they connect again. */
const timeout = 120_000;

// Letters of two and more code units, wherever an offset may go wrong.
const HELLO = ["Grüße, ", "世界 ", "👩‍👩‍👧‍👦", "! "];
const MORE = ["𝒜 further ", "𠀋", " piece ", "of e\u0301", "\r\n"];
const END = ["| `😀` |", "\n", "🚀"];

/**
 * What the tests do with a library.
 *
 * @typedef {object} Client
 * @property {(document: string, variables: object) => Promise<object>} query its data, not from a cache
 * @property {(document: string, variables: object) => Promise<object>} mutate its data
 * @property {(document: string, variables: object, sink: object) => () => void} subscribe data, to a sink
 * @property {() => void} close
 */

/**
 * The way to the server. Its `fetch` signs what it sends. With `retryMs` whatever breaks off is asked for
 * again as soon as that, and otherwise when the library sees fit.
 *
 * @typedef {object} Way
 * @property {string} url
 * @property {string} streamUrl
 * @property {string} socketUrl
 * @property {object} credential
 * @property {typeof fetch} fetch
 * @property {number} [retryMs]
 */

/** The option of graphql-ws and graphql-sse that says when they connect again. */
export const waiting = ({ retryMs }) => (retryMs === undefined ? {} : { retryWait: () => pause(retryMs) });

/**
 * @param {string} name
 * @param {(way: Way) => Client} open
 * @param {(tools: object) => void} [more] tests of this library alone
 */
export function describeClient(name, open, more) {
  describe(name, { concurrency: 4, timeout }, () => {
    let provider;
    let server;

    before(async () => {
      provider = await startProvider();
      server = await startLoquat({
        ...provider.settings,
        JWT_LEEWAY_SECONDS: "0",
        // A reply that a failed test has left unanswered.
        LOQUAT_SHUTDOWN_GRACE_SECONDS: "0",
      });
    });

    after(async () => {
      await server?.stop();
      await provider?.stop();
    });

    const token = async (user, ttl) => `Bearer ${await server.token(user, ttl)}`;

    /** A question, with its answer in the test's hand, and with another when it is asked again. */
    function prepare() {
      const question = `Question ${randomUUID()}`;
      const again = () => provider.answer(question);
      return { question, answer: again(), again };
    }

    /** A new user, and a way to their server that can be cut. */
    async function arrive(t) {
      const user = `user-${randomUUID()}`;
      const proxy = await startProxy(server.url);
      t.after(() => proxy.stop());
      let gate;
      return {
        user,
        proxy,
        /** Nothing more is sent over HTTP, until this is called back. */
        hold() {
          const { promise, resolve } = withResolvers();
          gate = promise;
          return resolve;
        },
        /** One of their devices. Its sockets and streams go by the proxy. */
        open(credential = { "X-User-Id": user }, openClient = open) {
          const client = openClient({
            url: `${server.url}/graphql`,
            streamUrl: `${proxy.url}/graphql`,
            socketUrl: `${proxy.url.replace("http", "ws")}/graphql`,
            credential,
            async fetch(address, init) {
              await gate;
              const signed = typeof credential === "function" ? await credential() : credential;
              return fetch(address, { ...init, headers: { ...init.headers, ...signed } });
            },
          });
          t.after(() => client.close());
          return client;
        },
      };
    }

    /** What the server has stored, asked with no library at all. */
    async function stored(user, conversation) {
      const response = await fetch(`${server.url}/graphql`, {
        method: "POST",
        headers: { "content-type": "application/json", "x-user-id": user },
        body: JSON.stringify({ query: CONVERSATION, variables: { id: conversation.id } }),
      });
      const { data } = await response.json();
      return data.viewer.conversation.messages.nodes;
    }

    for (const [how, credentialOf] of [
      ["name", (user) => ({ "X-User-Id": user })],
      ["JWT", async (user) => ({ Authorization: await token(user) })],
    ]) {
      it(`chats, signed in by ${how}`, async (t) => {
        const { user, open } = await arrive(t);
        const client = open(await credentialOf(user));

        const { question, answer } = prepare();
        const { conversation, reply } = await startChat(client, question);
        const feed = follow(client, reply);
        answer.write(...HELLO);
        await feed.untilContent(answer.text);
        answer.end();
        assertWhole(feed, await feed.finished(), reply, answer);

        const next = prepare();
        const second = await sendMessage(client, conversation, next.question);
        const secondFeed = follow(client, second);
        next.answer.write(...END);
        next.answer.end();
        assertWhole(secondFeed, await secondFeed.finished(), second, next.answer);

        const { viewer } = await client.query(CONVERSATION, { id: conversation.id });
        assert.equal(viewer.externalId, user);
        const messages = viewer.conversation.messages.nodes;
        assert.deepEqual(
          messages.map(({ role, status, content }) => [role, status, content]),
          [
            ["USER", "COMPLETED", question],
            ["ASSISTANT", "COMPLETED", answer.text],
            ["USER", "COMPLETED", next.question],
            ["ASSISTANT", "COMPLETED", next.answer.text],
          ],
        );
      });
    }

    it("has the exact text after a cut in mid-reply", async (t) => {
      const { user, proxy, open } = await arrive(t);
      const client = open();
      const { question, answer } = prepare();
      const { conversation, reply } = await startChat(client, question);
      const feed = follow(client, reply);
      for (const token of HELLO) {
        answer.write(token);
        await feed.untilContent(answer.text);
      }

      const { connections } = proxy;
      proxy.cut();
      answer.write(...MORE);
      await feed.untilContent(answer.text);
      assert.equal(proxy.connections, connections + 1);

      answer.write(...END);
      answer.end();
      assertWhole(feed, await feed.finished(), reply, answer);
      assert.equal((await stored(user, conversation)).at(-1).content, feed.content);
    });

    it("has the exact text of a reply that ended while the socket was cut", async (t) => {
      const { user, proxy, open } = await arrive(t);
      const client = open();
      const { question, answer } = prepare();
      const { conversation, reply } = await startChat(client, question);
      const feed = follow(client, reply);
      answer.write(...HELLO);
      await feed.untilContent(answer.text);

      const { connections } = proxy;
      proxy.cut();
      answer.write(...MORE, ...END);
      answer.end();
      assertWhole(feed, await feed.finished(), reply, answer);
      assert.equal(proxy.connections, connections + 1);
      assert.equal((await stored(user, conversation)).at(-1).content, feed.content);
    });

    it("has the exact text of one subscription that is cut six times", async (t) => {
      const { proxy, open: openDevice } = await arrive(t);
      const client = openDevice(undefined, (way) => open({ ...way, retryMs: 20 }));
      const { question, answer } = prepare();
      const { reply } = await startChat(client, question);
      const feed = follow(client, reply);
      answer.write("Whole.");
      await feed.untilContent(answer.text);

      const { connections } = proxy;
      for (let cut = 1; cut <= 6; cut += 1) {
        proxy.cut();
        answer.write(` Cut ${cut}.`);
        await feed.untilContent(answer.text);
        assert.equal(proxy.connections, connections + cut);
      }
      answer.end();
      assertWhole(feed, await feed.finished(), reply, answer);
    });

    it("goes on with a fresh token when one ends in mid-reply", async (t) => {
      const { user, open } = await arrive(t);
      const { question, answer } = prepare();
      const { reply } = await startChat(open(), question);

      const lifetimes = ["3s", "1h"];
      const renewed = withResolvers();
      const credential = async () => {
        const lifetime = lifetimes.shift();
        if (lifetimes.length === 0) renewed.resolve();
        return { Authorization: await token(user, lifetime) };
      };
      const feed = follow(open(credential), reply);
      answer.write(...HELLO);
      await feed.untilContent(answer.text);
      await renewed.promise;
      answer.write(...MORE);
      await feed.untilContent(answer.text);

      answer.end();
      assertWhole(feed, await feed.finished(), reply, answer);
    });

    it("hears the same events in the same order as every other client", async (t) => {
      const { open } = await arrive(t);
      const client = open();
      const { question, answer } = prepare();
      const { conversation, reply } = await startChat(client, question);
      // It begins with a text on which all agree.
      const witness = follow(open(), reply);
      answer.write(HELLO[0]);
      await witness.untilContent(answer.text);

      const feed = follow(client, reply);
      const events = followConversation(client, conversation);
      await feed.untilContent(answer.text);
      await events.untilContent(answer.text);
      for (const token of HELLO.slice(1)) {
        answer.write(token);
        await feed.untilContent(answer.text);
        await events.untilContent(answer.text);
      }
      answer.end();
      await feed.finished();
      const next = prepare();
      const second = await sendMessage(client, conversation, next.question);
      await events.until(({ messageEdge }) => messageEdge?.node.id === second.id);
      next.answer.write(END[2]);
      next.answer.end();
      await events.until(({ __typename, message }) => __typename === "MessageFinished" && message.id === second.id);

      const deltas = [];
      for (const text of HELLO) deltas.push(["MessageDelta", reply.id, offsetAfter(deltas), text]);
      const ended = ["MessageFinished", reply.id, "COMPLETED", answer.text];
      assert.deepEqual(essence(feed), [...deltas, ended]);
      assert.deepEqual(essence(events), [
        ["ConversationSnapshot", conversation.id],
        ...deltas,
        ended,
        ["MessageAdded", "USER", next.question],
        ["MessageAdded", "ASSISTANT", ""],
        ["MessageDelta", second.id, 0, END[2]],
        ["MessageFinished", second.id, "COMPLETED", END[2]],
      ]);
    });

    it("has the exact text twice at once", async (t) => {
      const { open } = await arrive(t);
      const client = open();
      const { question, answer } = prepare();
      const { reply } = await startChat(client, question);
      const feeds = [follow(client, reply), follow(client, reply)];
      answer.write(...HELLO);
      for (const feed of feeds) await feed.untilContent(answer.text);
      answer.write(...END);
      answer.end();
      for (const feed of feeds) assertWhole(feed, await feed.finished(), reply, answer);
    });

    it("has the exact text late, on two devices, again, and once it has ended", async (t) => {
      const { open } = await arrive(t);
      const first = open();
      const second = open();
      const { question, answer } = prepare();
      const { reply } = await startChat(first, question);

      answer.write(...HELLO);
      const early = follow(first, reply);
      await early.untilContent(answer.text);
      const late = follow(second, reply);
      await late.untilContent(answer.text);
      // Late: the text so far comes whole.
      assert.deepEqual(
        late.events.slice(0, 2).map(({ __typename, offset, text }) => [__typename, offset, text]),
        [
          ["MessageChanged", undefined, undefined],
          ["MessageDelta", 0, answer.text],
        ],
      );

      early.leave();
      answer.write(...MORE);
      await late.untilContent(answer.text);
      const again = follow(first, reply);
      await again.untilContent(answer.text);

      answer.write(...END);
      answer.end();
      for (const feed of [late, again]) assertWhole(feed, await feed.finished(), reply, answer);
      // Who left has heard no more.
      assert.equal(early.content, HELLO.join(""));

      const after = follow(first, reply);
      assertWhole(after, await after.finished(), reply, answer);
      assert.deepEqual(
        // urql hands out the last one again at the end.
        after.events.slice(0, 3).map(({ __typename }) => __typename),
        ["MessageChanged", "MessageDelta", "MessageFinished"],
      );
    });

    it("edits, has a reply written anew, and goes back", async (t) => {
      const { user, open } = await arrive(t);
      const client = open();
      /** Has the reply written, and reads it to its end. */
      async function finish(reply, answer, ...tokens) {
        const feed = follow(client, reply);
        answer.write(...tokens);
        answer.end();
        assertWhole(feed, await feed.finished(), reply, answer);
      }
      const contents = ({ messages }) => messages.nodes.map(({ content }) => content);

      const { question, answer } = prepare();
      const { conversation, reply } = await startChat(client, question);
      await finish(reply, answer, ...HELLO);
      const [asked] = await stored(user, conversation);

      const other = prepare();
      const { editMessage } = await client.mutate(EDIT_MESSAGE, {
        messageId: asked.id,
        content: other.question,
      });
      assert.deepEqual(contents(editMessage.conversation), [other.question, ""]);
      await finish(editMessage.reply, other.answer, ...MORE);

      const again = other.again();
      const { regenerateReply } = await client.mutate(REGENERATE_REPLY, {
        messageId: editMessage.reply.id,
      });
      const written = regenerateReply.conversation.messages.nodes[1];
      assert.deepEqual(
        [written.versionNumber, written.versions.map(({ id }) => id)],
        [2, [editMessage.reply.id, regenerateReply.reply.id]],
      );
      await finish(regenerateReply.reply, again, ...END);

      // Back to the first, and forth to what was last active.
      const [edited] = editMessage.conversation.messages.nodes;
      for (const [messageId, path] of [
        [asked.id, [question, answer.text]],
        [edited.id, [other.question, again.text]],
      ]) {
        const { selectVersion } = await client.mutate(SELECT_VERSION, { messageId });
        assert.deepEqual(contents(selectVersion.conversation), path);
        const { viewer } = await client.query(CONVERSATION, { id: conversation.id });
        assert.deepEqual(contents(viewer.conversation), path);
      }
    });

    it("stops a reply on another device, and sends while one is written", async (t) => {
      const { user, open } = await arrive(t);
      const first = open();
      const second = open();
      const { question, answer } = prepare();
      const { conversation, reply } = await startChat(first, question);
      const feeds = [follow(first, reply), follow(second, reply)];
      answer.write(...HELLO);
      for (const feed of feeds) await feed.untilContent(answer.text);

      const { stopReply } = await second.mutate(STOP_REPLY, { messageId: reply.id });
      assert.deepEqual(
        { id: stopReply.reply.id, status: stopReply.reply.status, content: stopReply.reply.content },
        { id: reply.id, status: "STOPPED", content: answer.text },
      );
      for (const feed of feeds) {
        assertWhole(feed, await feed.finished(), reply, answer, "STOPPED");
      }

      const [busy, queued, last] = [prepare(), prepare(), prepare()];
      const running = await sendMessage(first, conversation, busy.question);
      const runningFeed = follow(first, running);
      busy.answer.write(...MORE);
      await runningFeed.untilContent(busy.answer.text);
      const waiting = await sendMessage(second, conversation, queued.question, "ENQUEUE");
      assert.equal(waiting.status, "PENDING");
      const waitingFeed = follow(second, waiting);
      const answered = await sendMessage(second, conversation, last.question, "STOP");
      assertWhole(runningFeed, await runningFeed.finished(), running, busy.answer, "STOPPED");
      assertWhole(waitingFeed, await waitingFeed.finished(), waiting, queued.answer, "STOPPED");
      const answeredFeed = follow(first, answered);
      last.answer.write(...END);
      last.answer.end();
      assertWhole(answeredFeed, await answeredFeed.finished(), answered, last.answer);
      assert.deepEqual(
        (await stored(user, conversation)).map(({ status, content }) => [status, content]),
        [
          ["COMPLETED", question],
          ["STOPPED", answer.text],
          ["COMPLETED", busy.question],
          ["STOPPED", busy.answer.text],
          ["COMPLETED", queued.question],
          ["STOPPED", ""],
          ["COMPLETED", last.question],
          ["COMPLETED", last.answer.text],
        ],
      );
    });

    more?.({ arrive, prepare, stored });
  });
}

export async function startChat(client, message) {
  const { startChat } = await client.mutate(START_CHAT, { message });
  return startChat;
}

export async function sendMessage(client, conversation, content, whenBusy) {
  const variables = { conversationId: conversation.id, content, whenBusy };
  const { sendMessage } = await client.mutate(SEND_MESSAGE, variables);
  return sendMessage.reply;
}

export function follow(client, reply) {
  const feed = new Feed();
  const next = ({ messageStream }) => feed.next(messageStream);
  const error = (failure) => feed.error(failure);
  const complete = () => feed.complete();
  feed.leave = client.subscribe(MESSAGE_STREAM, { messageId: reply.id }, { next, error, complete });
  return feed;
}

function withResolvers() {
  let resolve;
  const promise = new Promise((resolved) => (resolve = resolved));
  return { promise, resolve };
}

function followConversation(client, { id }) {
  const feed = new Feed();
  const next = ({ conversationEvents }) => feed.next(conversationEvents);
  client.subscribe(CONVERSATION_EVENTS, { id }, { next, error: (failure) => feed.error(failure), complete() {} });
  return feed;
}

/** What each event says, without those that come by the moment: what has changed may be told at once. */
function essence({ events }) {
  const said = events
    .filter((event) => event.__typename in essentials && event.text !== "")
    .map(({ __typename, ...event }) => [__typename, ...essentials[__typename](event)]);
  // urql hands out the last one again.
  return said.filter((event, index) => JSON.stringify(event) !== JSON.stringify(said[index - 1]));
}

const essentials = {
  ConversationSnapshot: ({ conversation }) => [conversation.id],
  MessageAdded: ({ messageEdge }) => [messageEdge.node.role, messageEdge.node.content],
  MessageDelta: ({ messageId, offset, text }) => [messageId, offset, text],
  MessageFinished: ({ message }) => [message.id, message.status, message.content],
};

function offsetAfter(deltas) {
  return deltas.reduce((length, [, , , text]) => length + text.length, 0);
}

/** The deltas, the last event and the model agree on the text. */
export function assertWhole(feed, finished, reply, answer, status = "COMPLETED") {
  assert.deepEqual(
    { id: finished.id, status: finished.status, content: finished.content, deltas: feed.content },
    { id: reply.id, status, content: answer.text, deltas: answer.text },
  );
}
