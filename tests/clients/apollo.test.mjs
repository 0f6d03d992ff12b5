import { it } from "node:test";
import { ApolloClient, ApolloLink, gql, HttpLink, InMemoryCache } from "@apollo/client";
import { RetryLink } from "@apollo/client/link/retry";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
import { relayStylePagination } from "@apollo/client/utilities";
import { OperationTypeNode } from "graphql";
import { CONVERSATION_EVENTS } from "./documents.mjs";
import { CHANGES, CHATS, HISTORY, hoped, hopedTitle, RENAME, ROWS, SEND_SHOWN, testHistory } from "./history.mjs";
import { Texts, testFollowing, VIEWER_EVENTS } from "./live.mjs";
import { openSocketClient } from "./socket.mjs";
import { assertWhole, describeClient, follow, startChat } from "./suite.mjs";

const paged = () => ({ cache: new InMemoryCache({ typePolicies }) });

describeClient("Apollo Client over WebSockets", openSocket, (tools) => {
  const { arrive, prepare } = tools;
  testHistory(tools, (way) => openWindow(openSocket(way, paged())));

  it("has the exact text late on the same client, without deduplication", async (t) => {
    const { open: openDevice } = await arrive(t);
    const client = openDevice(undefined, (way) => openSocket(way, { queryDeduplication: false }));
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

  testFollowing(tools, (way) => openCached(openSocket(way)));
});

describeClient("Apollo Client over multipart answers", openParts, (tools) => {
  testHistory(tools, (way) => openWindow(openParts(way, paged())));

  testFollowing(tools, (way) => openCached(openParts(way)));
});

/** A device with a chat window, its lists merged by `relayStylePagination`. */
function openWindow(device) {
  const { client } = device;
  const views = new Map();
  const open = async (query, variables) => {
    const view = client.watchQuery({ query: gql(query), variables, notifyOnNetworkStatusChange: false });
    await new Promise((shown, failed) => {
      view.subscribe(({ data, error }) => (error ? failed(error) : data && shown()));
    });
    views.set(query, view);
  };
  const data = (query) => {
    const { variables } = views.get(query);
    return client.cache.readQuery({ query: gql(query), variables, optimistic: true });
  };
  const messages = () => data(HISTORY).viewer.conversation.messages;
  const conversations = () => data(CHATS).viewer.conversations;

  return {
    ...device,
    show: (id) => open(HISTORY, { id, last: ROWS }),
    shown: () => messages().edges.map(({ node }) => node),
    async earlier() {
      const { hasPreviousPage, startCursor } = messages().pageInfo;
      if (hasPreviousPage) await views.get(HISTORY).fetchMore({ variables: { before: startCursor } });
      return hasPreviousPage;
    },
    list: () => open(CHATS, { first: ROWS }),
    listed: () => conversations().edges.map(({ node }) => node),
    async further() {
      const { hasNextPage, endCursor } = conversations().pageInfo;
      if (hasNextPage) await views.get(CHATS).fetchMore({ variables: { after: endCursor } });
      return hasNextPage;
    },
    async send(conversationId, content) {
      const { data } = await client.mutate({
        mutation: gql(SEND_SHOWN),
        variables: { input: { conversationId, content } },
        optimisticResponse: hoped(content),
        update(cache, { data: { sendMessage } }) {
          const { userMessageEdge, replyEdge } = sendMessage;
          cache.modify({
            id: cache.identify({ __typename: "Conversation", id: conversationId }),
            fields: {
              messages: (page) => ({ ...page, edges: [...page.edges, userMessageEdge, replyEdge] }),
            },
          });
        },
      });
      return data;
    },
    async rename(conversationId, title) {
      const { data } = await client.mutate({
        mutation: gql(RENAME),
        variables: { input: { conversationId, title } },
        optimisticResponse: hopedTitle(conversationId, title),
      });
      return data;
    },
    change: (how, input) => device.mutate(CHANGES[how], { input }),
  };
}

const typePolicies = {
  Conversation: { fields: { messages: relayStylePagination() } },
  Viewer: { fields: { conversations: relayStylePagination(["filter", "orderBy"]) } },
};

/** A device that keeps its cache up to date by what it is told. */
function openCached(device) {
  const { cache } = device;
  const texts = new Texts();
  const list = (update) =>
    cache.modify({
      id: cache.identify(cache.readQuery({ query: gql(VIEWER_ID) }).viewer),
      fields: {
        conversations: (page, tools) => ({ ...page, nodes: update(page.nodes, tools) }),
      },
    });

  const take = (id, event) => {
    switch (event.__typename) {
      case "MessageAdded":
        cache.modify({
          id: cache.identify({ __typename: "Conversation", id }),
          fields: {
            messages: (page, { toReference }) => ({
              ...page,
              nodes: [...page.nodes, toReference(event.messageEdge.node, true)],
            }),
          },
        });
        break;
      case "MessageDelta": {
        const content = texts.write(event);
        const message = cache.identify({ __typename: "Message", id: event.messageId });
        cache.modify({ id: message, fields: { content: () => content } });
        break;
      }
      case "ConversationAdded":
        list((nodes, { toReference }) => [toReference(event.conversationEdge.node, true), ...nodes]);
        break;
      case "ConversationDeleted":
        list((nodes, { readField }) => nodes.filter((node) => readField("id", node) !== event.deletedConversationId));
        break;
    }
  };

  return {
    ...device,
    cached: (document, variables) => cache.readQuery({ query: gql(document), variables }),
    follow(id, fail) {
      const sink = (field) => ({ next: (data) => take(id, data[field]), error: fail, complete: fail });
      device.subscribe(CONVERSATION_EVENTS, { id }, sink("conversationEvents"));
      device.subscribe(VIEWER_EVENTS, {}, sink("viewerEvents"));
    },
  };
}

const VIEWER_ID = `{ viewer { id } }`;

/** Whatever breaks off is asked for again, from its beginning. */
function openParts({ url, streamUrl, fetch, retryMs }, options) {
  const http = (uri) => new HttpLink({ uri, fetch });
  // It counts the breaks of a subscription's whole life.
  const retrying = new RetryLink({ attempts: () => true, delay: { max: retryMs ?? 5_000 } });
  return open(ApolloLink.from([retrying, http(streamUrl)]), http(url), () => {}, options);
}

function openSocket(way, options) {
  const { url, fetch } = way;
  const socket = openSocketClient(way);
  const http = new HttpLink({ uri: url, fetch });
  return open(new GraphQLWsLink(socket), http, () => socket.dispose(), options);
}

function open(subscriptions, rest, close, options) {
  const client = new ApolloClient({
    cache: new InMemoryCache(),
    link: ApolloLink.split(
      ({ operationType }) => operationType === OperationTypeNode.SUBSCRIPTION,
      subscriptions,
      rest,
    ),
    ...options,
  });
  // Those that are left would be asked for again for ever.
  const subscribed = new Set();
  return {
    client,
    cache: client.cache,
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
      subscribed.add(subscription);
      return () => subscription.unsubscribe();
    },
    close() {
      for (const subscription of subscribed) subscription.unsubscribe();
      client.stop();
      close();
    },
  };
}
