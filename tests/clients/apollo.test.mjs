import { it } from "node:test";
import { ApolloClient, ApolloLink, gql, HttpLink, InMemoryCache } from "@apollo/client";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
import { OperationTypeNode } from "graphql";
import { createClient } from "graphql-ws";
import WebSocket from "ws";
import { assertWhole, describeClient, follow, startChat } from "./suite.mjs";

describeClient("Apollo Client", open, ({ arrive, prepare }) => {
  it("has the exact text late on the same client, without deduplication", async (t) => {
    const { open: openDevice } = await arrive(t);
    const client = openDevice(undefined, (way) => open(way, { queryDeduplication: false }));
    const { question, answer } = prepare();
    const { reply } = await startChat(client, question);
    const early = follow(client, reply);
    answer.write("The beginning, ");
    await early.untilContent(answer.text);

    const late = follow(client, reply);
    await late.untilContent(answer.text);
    answer.write("and the end.");
    answer.end();
    for (const feed of [early, late]) assertWhole(feed, await feed.finished(), reply, answer);
  });
});

function open({ url, socketUrl, credential }, options) {
  const socket = createClient({ url: socketUrl, webSocketImpl: WebSocket, connectionParams: credential });
  const client = new ApolloClient({
    cache: new InMemoryCache(),
    link: ApolloLink.split(
      ({ operationType }) => operationType === OperationTypeNode.SUBSCRIPTION,
      new GraphQLWsLink(socket),
      new HttpLink({ uri: url, headers: credential }),
    ),
    ...options,
  });
  return {
    async query(document, variables) {
      const { data } = await client.query({ query: gql(document), variables, fetchPolicy: "network-only" });
      return data;
    },
    async mutate(document, variables) {
      const { data } = await client.mutate({ mutation: gql(document), variables });
      return data;
    },
    subscribe(document, variables, { next, error, complete }) {
      const subscription = client.subscribe({ query: gql(document), variables }).subscribe({
        next: (result) => (result.error ? error(result.error) : next(result.data)),
        error,
        complete,
      });
      return () => subscription.unsubscribe();
    },
    close() {
      client.stop();
      socket.dispose();
    },
  };
}
