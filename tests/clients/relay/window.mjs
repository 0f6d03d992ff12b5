/** A chat window over a Relay store, its lists by `@connection`, as `usePaginationFragment` keeps them. */
import relay from "relay-runtime";
import { changesWith, hoped, RENAME, ROWS } from "../history.mjs";
import { compile, relayed } from "./artifacts.mjs";
import { commit, openRelay } from "./device.mjs";

const { ConnectionHandler, createOperationDescriptor, fetchQuery, getSingularSelector } = relay;

const MESSAGE = `id role status content`;

const FRAGMENTS = [
  `fragment Window_conversation on Conversation
   @argumentDefinitions(count: { type: "Int", defaultValue: ${ROWS} }, cursor: { type: "String" })
   @refetchable(queryName: "WindowEarlierQuery") {
     messages(last: $count, before: $cursor) @connection(key: "Window_messages") {
       edges { node { ${MESSAGE} } }
       pageInfo { hasPreviousPage startCursor }
     }
   }`,
  `fragment Window_viewer on Viewer
   @argumentDefinitions(count: { type: "Int", defaultValue: ${ROWS} }, cursor: { type: "String" })
   @refetchable(queryName: "WindowFurtherQuery") {
     conversations(first: $count, after: $cursor) @connection(key: "Window_conversations") {
       edges { node { id title } }
       pageInfo { hasNextPage endCursor }
     }
   }`,
];

const OPERATIONS = [
  `query WindowConversationQuery($id: ID!) { viewer { id conversation(id: $id) { id ...Window_conversation } } }`,
  `query WindowChatsQuery { viewer { id ...Window_viewer } }`,
  `mutation WindowSendMutation($input: SendMessageInput!, $connections: [ID!]!) {
     sendMessage(input: $input) {
       userMessageEdge @appendEdge(connections: $connections) { cursor node { ${MESSAGE} } }
       replyEdge @appendEdge(connections: $connections) { cursor node { ${MESSAGE} } }
     }
   }`,
];

const changes = Object.entries(changesWith("conversation { id ...Window_conversation }")).map(([how, document]) => ({
  how,
  ...relayed(document),
}));

const rename = relayed(RENAME);

const artifacts = await compile({
  Window: [...FRAGMENTS, ...OPERATIONS],
  [rename.module]: [rename.document],
  ...Object.fromEntries(changes.map(({ module, document }) => [module, [document]])),
});

export function openWindow(way) {
  const device = openRelay(way);
  const { environment } = device;
  let conversationId;
  let viewerId;
  const query = (name, variables) => fetchQuery(environment, artifacts.get(name), variables).toPromise();
  /** Keeps what a query has brought, and where its fragment begins. */
  const views = {};
  const open = async (name, variables, fragment, parent) => {
    const operation = createOperationDescriptor(artifacts.get(name), variables);
    environment.retain(operation);
    await query(name, variables);
    const { data } = environment.lookup(operation.fragment);
    views[fragment] = getSingularSelector(artifacts.get(fragment), parent(data));
  };
  const read = (fragment) => environment.lookup(views[fragment]).data;
  const messages = () => read("Window_conversation").messages;
  const conversations = () => read("Window_viewer").conversations;

  return {
    ...device,
    async show(id) {
      conversationId = id;
      await open("WindowConversationQuery", { id }, "Window_conversation", (data) => data.viewer.conversation);
    },
    shown: () => messages().edges.map(({ node }) => node),
    async earlier() {
      const { hasPreviousPage, startCursor } = messages().pageInfo;
      const variables = { id: conversationId, count: ROWS, cursor: startCursor };
      if (hasPreviousPage) await query("WindowEarlierQuery", variables);
      return hasPreviousPage;
    },
    list: () =>
      open("WindowChatsQuery", {}, "Window_viewer", ({ viewer }) => {
        viewerId = viewer.id;
        return viewer;
      }),
    listed: () => conversations().edges.map(({ node }) => node),
    async further() {
      const { hasNextPage, endCursor } = conversations().pageInfo;
      if (hasNextPage) await query("WindowFurtherQuery", { id: viewerId, count: ROWS, cursor: endCursor });
      return hasNextPage;
    },
    send(id, content) {
      const connections = [ConnectionHandler.getConnectionID(id, "Window_messages")];
      return commit(environment, {
        mutation: artifacts.get("WindowSendMutation"),
        variables: { input: { conversationId: id, content }, connections },
        optimisticResponse: hoped(content),
      });
    },
    rename: (conversationId, title) =>
      commit(environment, {
        mutation: artifacts.get(rename.name),
        variables: { input: { conversationId, title } },
        optimisticResponse: { updateConversation: { conversation: { id: conversationId, title } } },
      }),
    change(how, input) {
      const { name } = changes.find((change) => change.how === how);
      return commit(environment, { mutation: artifacts.get(name), variables: { input } });
    },
  };
}
