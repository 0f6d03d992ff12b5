import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { it } from "node:test";
import { cacheExchange, Client, fetchExchange, gql, subscriptionExchange } from "@urql/core";
import { cacheExchange as cacheOf } from "@urql/exchange-graphcache";
import { retryExchange } from "@urql/exchange-retry";
import { buildSchema, introspectionFromSchema } from "graphql";
import { createClient } from "graphql-ws";
import { onEnd, pipe, subscribe as listen } from "wonka";
import WebSocket from "ws";
import { CONVERSATION, CONVERSATION_EVENTS } from "./documents.mjs";
import { followsThroughACut, LIVE, Texts, VIEWER_EVENTS } from "./live.mjs";
import { describeClient, startChat } from "./suite.mjs";

const schemaFile = join(import.meta.dirname, "../../schema.graphql");

describeClient("urql over WebSockets", openSocket, ({ arrive, prepare }) => {
  for (const [method, options] of [
    ["GET", {}],
    ["POST", { preferGetMethod: false }],
  ]) {
    it(`sends queries by ${method}`, async (t) => {
      const asked = [];
      const watched = (way) => (address, init) => {
        asked.push(init.method);
        return way.fetch(address, init);
      };
      const { user, open: openDevice } = await arrive(t);
      const client = openDevice(undefined, (way) => openSocket({ ...way, fetch: watched(way) }, options));
      const { question, answer } = prepare();
      answer.end();
      const { conversation } = await startChat(client, question);
      const { viewer } = await client.query(CONVERSATION, { id: conversation.id });
      assert.equal(viewer.externalId, user);
      assert.deepEqual(asked, ["POST", method]);
    });
  }

  it("holds in its cache what the server holds, after a cut in mid-reply", async (t) => {
    await followsThroughACut(t, { arrive, prepare }, (way) => openCached(way, openSocket));
  });
});

describeClient("urql over server-sent events", openEvents, ({ arrive, prepare }) => {
  it("holds in its cache what the server holds, after a cut in mid-reply", async (t) => {
    await followsThroughACut(t, { arrive, prepare }, (way) => openCached(way, openEvents));
  });
});

/** A device that keeps a normalised cache up to date by what it is told. */
function openCached(way, open) {
  const texts = new Texts();
  const anonymous = [
    "ConversationConnection",
    "ConversationEdge",
    "MessageConnection",
    "MessageEdge",
    "ConversationSnapshot",
    "ConversationAdded",
    "ConversationChanged",
    "ConversationDeleted",
    "ViewerSnapshot",
    "MessageAdded",
    "MessageChanged",
    "MessageDelta",
    "MessageFinished",
  ];
  let followed;
  const exchange = cacheOf({
    // It tells the members of a union by this.
    schema: introspectionFromSchema(buildSchema(readFileSync(schemaFile, "utf8"))),
    keys: Object.fromEntries(anonymous.map((name) => [name, () => null])),
    updates: {
      Subscription: {
        conversationEvents({ conversationEvents: event }, { conversationId: id }, cache) {
          if (event.__typename === "MessageAdded") {
            cache.updateQuery({ query: LIVE, variables: { id } }, (data) => {
              data?.viewer.conversation.messages.nodes.push(event.messageEdge.node);
              return data;
            });
          } else if (event.__typename === "MessageDelta") {
            const content = texts.write(event);
            const fragment = gql`
              fragment Text on Message {
                id
                content
              }
            `;
            cache.writeFragment(fragment, { id: event.messageId, content });
          }
        },
        viewerEvents({ viewerEvents: event }, _, cache) {
          cache.updateQuery({ query: LIVE, variables: { id: followed } }, (data) => {
            const list = data?.viewer.conversations;
            if (event.__typename === "ConversationAdded") list?.nodes.unshift(event.conversationEdge.node);
            if (event.__typename === "ConversationDeleted") {
              list.nodes = list.nodes.filter(({ id }) => id !== event.deletedConversationId);
            }
            return data;
          });
        },
      },
    },
  });
  const device = open(way, {}, exchange);
  return {
    ...device,
    follow(id, fail) {
      followed = id;
      const sink = { next() {}, error: fail, complete: fail };
      device.subscribe(CONVERSATION_EVENTS, { id }, sink);
      device.subscribe(VIEWER_EVENTS, {}, sink);
    },
  };
}

/** Whatever breaks off is asked for again, from its beginning. */
function openEvents({ url, streamUrl, fetch }, options, cache = cacheExchange) {
  const client = new Client({
    url,
    fetchSubscriptions: true,
    fetch: (address, init) => fetch(isSubscription(init) ? streamUrl : address, init),
    exchanges: [
      cache,
      retryExchange({
        maxNumberAttempts: 6,
        retryIf: ({ networkError }, { kind }) => kind === "subscription" && Boolean(networkError),
      }),
      fetchExchange,
    ],
    ...options,
  });
  return deviceOf(client, () => {});
}

function isSubscription({ headers }) {
  return headers.accept.startsWith("text/event-stream");
}

function openSocket({ url, socketUrl, credential, fetch }, options, cache = cacheExchange) {
  const socket = createClient({ url: socketUrl, webSocketImpl: WebSocket, connectionParams: credential });
  const client = new Client({
    url,
    fetch,
    exchanges: [
      cache,
      fetchExchange,
      subscriptionExchange({
        forwardSubscription: (request) => ({
          subscribe: (sink) => ({ unsubscribe: socket.subscribe(request, sink) }),
        }),
      }),
    ],
    ...options,
  });
  return deviceOf(client, () => socket.dispose());
}

function deviceOf(client, close) {
  return {
    async query(document, variables) {
      return dataOf(await client.query(document, variables, { requestPolicy: "network-only" }));
    },
    cached: (document, variables) => client.readQuery(document, variables)?.data,
    async mutate(document, variables) {
      return dataOf(await client.mutation(document, variables));
    },
    subscribe(document, variables, { next, error, complete }) {
      const { unsubscribe } = pipe(
        client.subscription(document, variables),
        onEnd(complete),
        listen((result) => (result.error ? error(result.error) : next(result.data))),
      );
      return unsubscribe;
    },
    close,
  };
}

function dataOf({ data, error }) {
  if (error) throw error;
  return data;
}
