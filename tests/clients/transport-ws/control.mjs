/** The reference server of graphql-ws, with as much of Loquat's schema as the rules are tried with. */
import { EventEmitter, on, once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { buildSchema } from "graphql";
import { useServer } from "graphql-ws/use/ws";
import { WebSocketServer } from "ws";

const schemaFile = join(import.meta.dirname, "../../../schema.graphql");

export async function startControl() {
  /** What has happened, by the user to whom. */
  const news = new EventEmitter().setMaxListeners(0);
  let conversations = 0;

  const roots = {
    query: { viewer: (_, { user }) => ({ externalId: user }) },
    mutation: {
      async startChat(_, { user }) {
        conversations += 1;
        const id = `conversation-${conversations}`;
        // As long as a database takes.
        await new Promise((done) => setTimeout(done, 5));
        news.emit(user, id);
        return { conversation: { id, lastMessage: { id: `greeting-${conversations}` } } };
      },
    },
    subscription: {
      viewerEvents: (_, { user }) => {
        const added = on(news, user);
        let begun = false;
        const event = async () => {
          if (!begun) {
            begun = true;
            return { __typename: "ViewerSnapshot" };
          }
          const { value: [id] = [] } = await added.next();
          return id && { __typename: "ConversationAdded", conversationEdge: { node: { id } } };
        };
        // A generator could not be left while it waits.
        return {
          [Symbol.asyncIterator]() {
            return this;
          },
          async next() {
            const viewerEvents = await event();
            return viewerEvents ? { value: { viewerEvents }, done: false } : { value: undefined, done: true };
          },
          return: () => added.return(),
        };
      },
      async *messageStream({ messageId }) {
        const message = { id: messageId };
        yield { messageStream: { __typename: "MessageChanged", message } };
        yield { messageStream: { __typename: "MessageFinished", message } };
      },
    },
  };

  const http = createServer();
  const reference = useServer(
    {
      schema: buildSchema(readFileSync(schemaFile, "utf8")),
      roots,
      async onConnect({ connectionParams, extra }) {
        await new Promise(setImmediate);
        extra.user = connectionParams?.["X-User-Id"] ?? extra.request.headers["x-user-id"];
        return extra.user !== undefined;
      },
      context: ({ extra }) => ({ user: extra.user }),
    },
    new WebSocketServer({ server: http }),
  );
  http.listen(0, "127.0.0.1");
  await once(http, "listening");

  return {
    url: `ws://127.0.0.1:${http.address().port}`,
    async stop() {
      await reference.dispose();
      http.close();
      http.closeAllConnections();
      await once(http, "close");
    },
  };
}
