import assert from "node:assert/strict";
import { it } from "node:test";
import { cacheExchange, Client, fetchExchange, subscriptionExchange } from "@urql/core";
import { createClient } from "graphql-ws";
import { onEnd, pipe, subscribe as listen } from "wonka";
import WebSocket from "ws";
import { CONVERSATION } from "./documents.mjs";
import { describeClient, startChat } from "./suite.mjs";

describeClient("urql", open, ({ arrive, prepare }) => {
  for (const [method, options] of [
    ["GET", {}],
    ["POST", { preferGetMethod: false }],
  ]) {
    it(`sends queries by ${method}`, async (t) => {
      const asked = [];
      const watched = (url, init) => {
        asked.push(init.method);
        return fetch(url, init);
      };
      const { user, open: openDevice } = await arrive(t);
      const client = openDevice(undefined, (way) => open(way, { ...options, fetch: watched }));
      const { question, answer } = prepare();
      answer.end();
      const { conversation } = await startChat(client, question);
      const { viewer } = await client.query(CONVERSATION, { id: conversation.id });
      assert.equal(viewer.externalId, user);
      assert.deepEqual(asked, ["POST", method]);
    });
  }
});

function open({ url, socketUrl, credential }, options) {
  const socket = createClient({ url: socketUrl, webSocketImpl: WebSocket, connectionParams: credential });
  const client = new Client({
    url,
    fetchOptions: { headers: credential },
    exchanges: [
      cacheExchange,
      fetchExchange,
      subscriptionExchange({
        forwardSubscription: (request) => ({
          subscribe: (sink) => ({ unsubscribe: socket.subscribe(request, sink) }),
        }),
      }),
    ],
    ...options,
  });
  return {
    async query(document, variables) {
      return dataOf(await client.query(document, variables, { requestPolicy: "network-only" }));
    },
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
    close: () => socket.dispose(),
  };
}

function dataOf({ data, error }) {
  if (error) throw error;
  return data;
}
