import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { it } from "node:test";
import { cacheExchange, Client, fetchExchange, gql, subscriptionExchange } from "@urql/core";
import { cacheExchange as cacheOf } from "@urql/exchange-graphcache";
import { relayPagination } from "@urql/exchange-graphcache/extras";
import { retryExchange } from "@urql/exchange-retry";
import { buildSchema, introspectionFromSchema, isObjectType } from "graphql";
import { onEnd, pipe, subscribe as listen } from "wonka";
import { CONVERSATION, CONVERSATION_EVENTS } from "./documents.mjs";
import { CHANGES, CHATS, HISTORY, hoped, hopedTitle, RENAME, ROWS, SEND_SHOWN, testHistory } from "./history.mjs";
import { LIVE, Texts, testFollowing, VIEWER_EVENTS } from "./live.mjs";
import { openSocketClient } from "./socket.mjs";
import { describeClient, startChat } from "./suite.mjs";

const schemaFile = join(import.meta.dirname, "../../schema.graphql");

describeClient("urql over WebSockets", openSocket, (tools) => {
  const { arrive, prepare } = tools;
  testHistory(tools, (way) => openWindow(way, openSocket));

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

  testFollowing(tools, (way) => openCached(way, openSocket));
});

describeClient("urql over server-sent events", openEvents, (tools) => {
  testHistory(tools, (way) => openWindow(way, openEvents));

  testFollowing(tools, (way) => openCached(way, openEvents));
});

const schema = buildSchema(readFileSync(schemaFile, "utf8"));

/** What is a part of something else, and has no id. */
const parts = Object.values(schema.getTypeMap())
  .filter((type) => isObjectType(type) && !type.name.startsWith("__") && !type.getFields().id)
  .map(({ name }) => name);

/** A cache that knows the schema: it tells the members of a union by that. */
const normalised = (options) =>
  cacheOf({
    schema: introspectionFromSchema(schema),
    keys: Object.fromEntries(parts.map((name) => [name, () => null])),
    ...options,
  });

/** A device with a chat window, its lists merged by `relayPagination`. */
function openWindow(way, open) {
  // Pages of another path than the active one are asked for anew.
  const forget = (result, variables, cache) => {
    const conversation = cache.keyOfEntity({ __typename: "Conversation", id: shown.id });
    for (const { fieldName, fieldKey, arguments: page } of cache.inspectFields(conversation)) {
      if (fieldName === "messages" && page.before) cache.invalidate(conversation, fieldKey);
    }
  };
  const shown = { last: ROWS };
  const exchange = normalised({
    resolvers: {
      Conversation: { messages: relayPagination() },
      Viewer: { conversations: relayPagination() },
    },
    optimistic: {
      sendMessage: ({ input }) => hoped(input.content).sendMessage,
      updateConversation: ({ input }) => hopedTitle(input.conversationId, input.title).updateConversation,
    },
    updates: {
      Mutation: {
        sendMessage({ sendMessage }, _, cache) {
          // It was refused.
          if (!sendMessage) return;
          cache.updateQuery({ query: HISTORY, variables: shown }, (data) => {
            data?.viewer.conversation.messages.edges.push(sendMessage.userMessageEdge, sendMessage.replyEdge);
            return data;
          });
        },
        editMessage: forget,
        regenerateReply: forget,
        selectVersion: forget,
      },
    },
  });
  const device = open(way, {}, exchange);
  const messages = () => device.cached(HISTORY, shown)?.viewer.conversation.messages;
  const conversations = () => device.cached(CHATS, { first: ROWS }).viewer.conversations;

  return {
    ...device,
    async show(id) {
      shown.id = id;
      await device.query(HISTORY, shown);
    },
    shown: () => messages().edges.map(({ node }) => node),
    async earlier() {
      const { hasPreviousPage, startCursor } = messages().pageInfo;
      if (hasPreviousPage) await device.query(HISTORY, { ...shown, before: startCursor });
      return hasPreviousPage;
    },
    list: () => device.query(CHATS, { first: ROWS }),
    listed: () => conversations().edges.map(({ node }) => node),
    async further() {
      const { hasNextPage, endCursor } = conversations().pageInfo;
      if (hasNextPage) await device.query(CHATS, { first: ROWS, after: endCursor });
      return hasNextPage;
    },
    send: (conversationId, content) => device.mutate(SEND_SHOWN, { input: { conversationId, content } }),
    rename: (conversationId, title) => device.mutate(RENAME, { input: { conversationId, title } }),
    change: (how, input) => device.mutate(CHANGES[how], { input }),
  };
}

/** A device that keeps a normalised cache up to date by what it is told. */
function openCached(way, open) {
  const texts = new Texts();
  let followed;
  const exchange = normalised({
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
function openEvents({ url, streamUrl, fetch, retryMs }, options, cache = cacheExchange) {
  const client = new Client({
    url,
    fetchSubscriptions: true,
    fetch: (address, init) => fetch(isSubscription(init) ? streamUrl : address, init),
    exchanges: [
      cache,
      retryExchange({
        maxNumberAttempts: 5,
        maxDelayMs: retryMs,
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

function openSocket(way, options, cache = cacheExchange) {
  const { url, fetch } = way;
  const socket = openSocketClient(way);
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
