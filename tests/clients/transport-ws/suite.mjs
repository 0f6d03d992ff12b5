/** What each rule of the protocol comes to, through a socket of any server. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, it } from "node:test";
import { connect, open } from "./socket.mjs";

const VIEWER = "{ viewer { externalId } }";
const VIEWER_EVENTS = "subscription { viewerEvents { __typename } }";
const START_CHAT = "mutation { startChat(input: {}) { conversation { id lastMessage { id } } } }";
const MESSAGE_STREAM = "subscription ($id: ID!) { messageStream(messageId: $id) { __typename } }";

/** How many operations make it likely that some of them are caught at each stage. */
const MANY = 20;

/**
 * @param {string} name of the server
 * @param {() => Promise<{ url: string, stop: () => Promise<void> }>} start
 * @param {Map<string, number>} differences by tests: the code with which this server closes the socket instead
 * @returns {Set<string>} the names of the tests
 */
export function describeServer(name, start, differences = new Map()) {
  const names = new Set();
  describe(name, { concurrency: true, timeout: 60_000 }, () => {
    let server;
    before(async () => {
      server = await start();
    });
    after(() => server?.stop());

    const test = (rule, run) => {
      names.add(rule);
      it(rule, (t) => run(t, differences.get(rule)));
    };
    const person = () => `user-${randomUUID()}`;
    const arrive = (t, user = person()) => connect(t, server, user);
    const knock = (t, options) => open(t, { ...server, ...options });

    test("speaks graphql-transport-ws, and closes a socket that speaks nothing with 4406", async (t) => {
      const socket = await knock(t, { protocols: ["graphql-ws", "graphql-transport-ws"] });
      assert.equal(socket.protocol, "graphql-transport-ws");
      const silent = await knock(t, { protocols: [] });
      assert.equal((await silent.closed()).code, 4406);
    });

    test("acknowledges a connection_init with any payload, null, or none", async (t) => {
      for (const payload of [{ "X-User-Id": person() }, {}, null, undefined]) {
        const socket = await knock(t, { headers: { "X-User-Id": person() } });
        socket.say({ type: "connection_init", payload });
        await socket.hear("connection_ack");
      }
    });

    test("says each kind of message as it is specified, with the id of its operation", async (t) => {
      const socket = await arrive(t);
      await socket.settled();
      const served = socket.subscribe(VIEWER, { id: "ü 1" });
      await socket.hear("complete", served);
      const refused = socket.subscribe("{ nothing }");
      await socket.hear("error", refused);
      assert.deepEqual(
        new Set(socket.heard.map(({ type }) => type)),
        new Set(["connection_ack", "pong", "next", "complete", "error"]),
      );
      assert.deepEqual(socket.types(served), ["next", "complete"]);
    });

    test("runs several operations at a time, their messages interleaved", async (t) => {
      const socket = await arrive(t);
      const streams = [socket.subscribe(VIEWER_EVENTS), socket.subscribe(VIEWER_EVENTS)];
      for (const id of streams) await socket.hear("next", id);
      for (let round = 2; round < 5; round += 1) {
        await socket.ask(START_CHAT);
        for (const id of streams) await socket.hear("next", id, round);
      }
    });

    test("answers a normal closure with one", async (t) => {
      const socket = await arrive(t);
      await socket.hear("next", socket.subscribe(VIEWER_EVENTS));
      socket.close(1000);
      assert.equal((await socket.closed()).code, 1000);
    });

    test("closes a socket without a connection_init in time with 4408", async (t) => {
      const socket = await knock(t);
      await socket.settled();
      const { code, reason } = await socket.closed();
      assert.deepEqual([code, reason], [4408, "Connection initialisation timeout"]);
    });

    test("closes a socket with two connection_init with 4429, acknowledged or not", async (t) => {
      const init = { type: "connection_init", payload: { "X-User-Id": person() } };
      const hasty = await knock(t);
      hasty.say(init, init);
      const late = await knock(t);
      late.say(init);
      await late.hear("connection_ack");
      late.say(init);
      for (const socket of [hasty, late]) {
        const { code, reason } = await socket.closed();
        assert.deepEqual([code, reason], [4429, "Too many initialisation requests"]);
      }
    });

    test("closes a socket whose connection is rejected with 4403", async (t) => {
      const socket = await knock(t);
      socket.say({ type: "connection_init" });
      assert.equal((await socket.closed()).code, 4403);
      assert.deepEqual(socket.heard, []);
    });

    test("answers a ping with a pong at any time: before the init, after it, while streams are open", async (t) => {
      const socket = await knock(t);
      socket.say({ type: "ping" });
      await socket.hear("pong");
      socket.say({ type: "connection_init", payload: { "X-User-Id": person() } });
      socket.say({ type: "ping", payload: null });
      await socket.hear("pong", undefined, 2);
      await socket.hear("connection_ack");
      await socket.hear("next", socket.subscribe(VIEWER_EVENTS));
      socket.say({ type: "ping", payload: { at: 1 } });
      await socket.hear("pong", undefined, 3);
    });

    test("takes pongs that nobody asked for, at any time", async (t) => {
      const socket = await knock(t);
      socket.say({ type: "pong" }, { type: "pong", payload: null });
      socket.say({ type: "connection_init", payload: { "X-User-Id": person() } });
      await socket.hear("connection_ack");
      const stream = socket.subscribe(VIEWER_EVENTS);
      socket.say({ type: "pong", payload: { heart: "beat" } });
      await socket.hear("next", stream);
      await socket.settled();
    });

    for (const [running, other] of [
      [VIEWER_EVENTS, VIEWER_EVENTS],
      [VIEWER_EVENTS, VIEWER],
      [VIEWER_EVENTS, START_CHAT],
      [START_CHAT, VIEWER_EVENTS],
      [START_CHAT, START_CHAT],
    ]) {
      const [first, second] = [running, other].map((document) => /^\w+/.exec(document) ?? "query");
      test(`closes a socket with 4409 where the id of a running ${first} is given to a ${second}`, async (t) => {
        const socket = await arrive(t);
        const message = { type: "subscribe", id: "mine" };
        socket.say(
          { ...message, payload: { query: running } },
          { ...message, payload: { query: other } },
        );
        const { code, reason } = await socket.closed();
        assert.deepEqual([code, reason], [4409, "Subscriber for mine already exists"]);
      });
    }

    test("lets an id be used again once its operation is over, however that came", async (t) => {
      const socket = await arrive(t);
      const id = "again";
      const next = async (query, count) => {
        socket.subscribe(query, { id });
        await socket.hear("next", id, count);
      };
      await next(VIEWER, 1);
      await socket.hear("complete", id);
      socket.subscribe("{ nothing }", { id });
      await socket.hear("error", id);
      await next(VIEWER_EVENTS, 2);
      socket.complete(id);
      await next(VIEWER_EVENTS, 3);
      socket.complete(id);
      await next(VIEWER, 4);
      await socket.hear("complete", id, 2);
    });

    test("takes each optional member of a subscribe, null, or absent", async (t) => {
      const user = person();
      const socket = await arrive(t, user);
      const viewer = { externalId: user };
      const none = { operationName: null, variables: null, extensions: null };
      assert.deepEqual(await socket.ask(VIEWER, none), { viewer });
      const two = `query One { __typename } query Two($x: Boolean!) { viewer { externalId @include(if: $x) } }`;
      const second = { operationName: "Two", variables: { x: true }, extensions: {} };
      assert.deepEqual(await socket.ask(two, second), { viewer });
    });

    test("closes a socket that subscribes before it is acknowledged with 4401", async (t) => {
      const init = { type: "connection_init", payload: { "X-User-Id": person() } };
      const subscribe = { type: "subscribe", id: "1", payload: { query: VIEWER } };
      for (const messages of [[subscribe], [init, subscribe]]) {
        const socket = await knock(t);
        socket.say(...messages);
        const { code, reason } = await socket.closed();
        assert.deepEqual([code, reason], [4401, "Unauthorized"]);
        assert.deepEqual(socket.of("1"), []);
      }
    });

    test("sends all results of a stream, then complete, then nothing", async (t) => {
      const socket = await arrive(t);
      const { startChat } = await socket.ask(START_CHAT);
      const id = socket.subscribe(MESSAGE_STREAM, { variables: { id: startChat.conversation.lastMessage.id } });
      await socket.hear("complete", id);
      const events = socket.of(id).slice(0, -1);
      assert.ok(events.length > 1 && events.every(({ type }) => type === "next"), JSON.stringify(events));
      assert.equal(events.at(-1).payload.data.messageStream.__typename, "MessageFinished");
      const heard = socket.types(id);
      await socket.ask(VIEWER);
      assert.deepEqual(socket.types(id), heard);
    });

    test("sends one result of a query and of a mutation, then complete, among open streams", async (t) => {
      const socket = await arrive(t);
      await socket.hear("next", socket.subscribe(VIEWER_EVENTS));
      for (const document of [VIEWER, START_CHAT]) {
        const id = socket.subscribe(document);
        await socket.hear("complete", id);
        await socket.settled();
        assert.deepEqual(socket.types(id), ["next", "complete"]);
      }
    });

    test("ends what it cannot execute with an error, and sends no complete", async (t) => {
      const socket = await arrive(t);
      const ambiguous = "query One { __typename } query Two { __typename }";
      for (const document of ["{ nothing }", "subscription { nothing }", ambiguous]) {
        const id = socket.subscribe(document);
        await socket.hear("error", id);
        await socket.ask(VIEWER);
        assert.deepEqual(socket.types(id), ["error"]);
      }
    });

    test("ends what it cannot parse with an error, and goes on", async (t, code) => {
      const socket = await arrive(t);
      const id = socket.subscribe("{");
      if (code) {
        assert.equal((await socket.closed()).code, code);
        return;
      }
      await socket.hear("error", id);
      await socket.ask(VIEWER);
      assert.deepEqual(socket.types(id), ["error"]);
    });

    test("sends nothing of a stream that its client has completed, and ends its source", async (t) => {
      const socket = await arrive(t);
      const witness = socket.subscribe(VIEWER_EVENTS);
      await socket.hear("next", witness);
      const left = [];
      // More than a socket may have open at once.
      for (let round = 0; round < 120; round += 1) {
        const id = socket.subscribe(VIEWER_EVENTS);
        await socket.hear("next", id);
        socket.complete(id);
        left.push(id);
      }
      await socket.settled();
      await socket.ask(START_CHAT);
      await socket.hear("next", witness, 2);
      for (const id of left) assert.deepEqual(socket.types(id), ["next"]);
    });

    test("sends no result of a query that its client has completed before", async (t) => {
      const socket = await arrive(t);
      const unanswered = [];
      for (let round = 0; round < MANY; round += 1) {
        const id = `left-${round}`;
        socket.say({ type: "subscribe", id, payload: { query: START_CHAT } }, { type: "complete", id });
        await socket.settled();
        unanswered.push([id, socket.types(id).length]);
      }
      for (let round = 0; round < MANY; round += 1) await socket.ask(VIEWER);
      for (const [id, heard] of unanswered) assert.equal(socket.types(id).length, heard);
      assert.ok(unanswered.some(([, heard]) => heard === 0));
    });

    test("ignores a complete of an operation that is over, or that never was", async (t) => {
      const socket = await arrive(t);
      const served = socket.subscribe(VIEWER);
      await socket.hear("complete", served);
      const refused = socket.subscribe("{ nothing }");
      await socket.hear("error", refused);
      const left = socket.subscribe(VIEWER_EVENTS);
      await socket.hear("next", left);
      for (const id of [served, refused, left, left, "never"]) socket.complete(id);
      await socket.ask(VIEWER);
      assert.equal(socket.types(served).length, 2);
    });

    for (const [what, message] of [
      ["not JSON", "{"],
      ["not an object", []],
      ["without a type", {}],
      ["with a type that is no string", { type: 1 }],
      ["of another protocol", { type: "start", id: "1", payload: { query: VIEWER } }],
      ["with a payload that is no object", { type: "ping", payload: "x" }],
      ["a subscribe without an id", { type: "subscribe", payload: { query: VIEWER } }],
      ["a subscribe with an id that is no string", { type: "subscribe", id: 1, payload: { query: VIEWER } }],
      ["a subscribe with an empty id", { type: "subscribe", id: "", payload: { query: VIEWER } }],
      ["a subscribe without a payload", { type: "subscribe", id: "1" }],
      ["a subscribe without a query", { type: "subscribe", id: "1", payload: {} }],
      [
        "a subscribe with variables that are no object",
        { type: "subscribe", id: "1", payload: { query: VIEWER, variables: 1 } },
      ],
      ["a complete without an id", { type: "complete" }],
    ]) {
      test(`closes a socket with 4400 on a message that is ${what}`, async (t) => {
        const socket = await arrive(t);
        socket.say(message);
        const { code, reason } = await socket.closed();
        assert.equal(code, 4400);
        assert.notEqual(reason, "");
      });
    }

    test("closes a socket that says what is the server's to say", async (t, code = 4400) => {
      for (const message of [
        { type: "connection_ack" },
        { type: "next", id: "1", payload: { data: null } },
        { type: "error", id: "1", payload: [{ message: "x" }] },
      ]) {
        const socket = await arrive(t);
        socket.say(message);
        assert.equal((await socket.closed()).code, code);
      }
    });
  });
  return names;
}
