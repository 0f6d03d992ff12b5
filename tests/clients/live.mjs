/** Two devices of one user: one does things, the other follows them with a normalised cache. */
import assert from "node:assert/strict";
import { it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { EDIT_MESSAGE, REGENERATE_REPLY, SELECT_VERSION, START_CHAT } from "./documents.mjs";
import { follow, startChat } from "./suite.mjs";

/** Everything that the following device shows. */
export const LIVE = /* GraphQL */ `
  query Live($id: ID!) {
    viewer {
      id
      conversations(first: 20) {
        nodes {
          id
          title
          pinned
          lastMessage {
            id
          }
        }
      }
      conversation(id: $id) {
        id
        activeReply {
          id
        }
        messages(last: 20) {
          nodes {
            id
            role
            status
            content
          }
        }
      }
    }
  }
`;

export const VIEWER_EVENTS = /* GraphQL */ `
  subscription ViewerEvents {
    viewerEvents {
      __typename
      ... on ViewerSnapshot {
        viewer {
          id
          conversations(first: 20) {
            nodes {
              id
              title
              pinned
              lastMessage {
                id
              }
            }
          }
        }
      }
      ... on ConversationAdded {
        conversationEdge {
          node {
            id
            title
            pinned
            lastMessage {
              id
            }
          }
        }
      }
      ... on ConversationChanged {
        conversation {
          id
          title
          pinned
          lastMessage {
            id
          }
        }
      }
      ... on ConversationDeleted {
        deletedConversationId
      }
    }
  }
`;

export const UPDATE = /* GraphQL */ `
  mutation Update($id: ID!, $title: String!) {
    updateConversation(input: { conversationId: $id, title: $title, pinned: true }) {
      conversation {
        id
      }
    }
  }
`;

export const DELETE = /* GraphQL */ `
  mutation Delete($id: ID!) {
    deleteConversation(input: { conversationId: $id }) {
      deletedConversationId
    }
  }
`;

/** The contract's rule for the texts of one subscription. What begins anew begins at offset 0. */
export class Texts {
  #texts = new Map();

  /** The text of the delta's message with the delta in it. */
  write({ messageId, offset, text }) {
    const written = (this.#texts.get(messageId) ?? "").slice(0, offset) + text;
    this.#texts.set(messageId, written);
    return written;
  }
}

/**
 * @param openCached a device whose `cached(document, variables)` answers from its cache alone, which
 *   `follow(id)` keeps up to date
 */
export function testFollowing(tools, openCached) {
  it("holds in its cache what the server holds, after a cut in mid-reply", async (t) => {
    await followsThroughACut(t, tools, openCached);
  });

  it("holds in its cache what the server holds, after another device has chosen other versions", async (t) => {
    await followsVersions(t, tools, openCached);
  });
}

async function followsThroughACut(t, { arrive, prepare }, openCached) {
  const { proxy, open } = await arrive(t);
  const other = open();
  const first = prepare();
  const old = prepare();
  old.answer.end();
  const { conversation: gone } = await startChat(other, old.question);
  const { conversation, reply } = await startChat(other, first.question);
  const { id } = conversation;

  const device = open(undefined, openCached);
  await device.query(LIVE, { id });
  const failures = [];
  device.follow(id, (failure) => failures.push(failure));
  const shown = () => device.cached(LIVE, { id });
  const isShown = (text) => () =>
    shown().viewer.conversation.messages.nodes.some((message) => message.id === reply.id && message.content === text);

  first.answer.write("Grüße, ", "世界 ", "👩‍👩‍👧‍👦");
  await until(isShown(first.answer.text));

  const { connections } = proxy;
  proxy.cut();
  first.answer.write(" and 𝒜 ", "further ");
  await other.mutate(UPDATE, { id, title: "While you were away" });
  await other.mutate(DELETE, { id: gone.id });
  const another = prepare();
  another.answer.write("An answer");
  another.answer.end();
  await other.mutate(START_CHAT, { message: another.question });
  await until(isShown(first.answer.text));
  // One for both subscriptions, or one for each.
  assert.ok(proxy.connections > connections);

  first.answer.write("🚀");
  first.answer.end();
  const next = prepare();
  await until(async () => !(await other.query(LIVE, { id })).viewer.conversation.activeReply);
  await other.mutate(SEND, { id, content: next.question });
  next.answer.write("Yes.");
  next.answer.end();
  await until(async () => {
    const stored = await other.query(LIVE, { id });
    return !stored.viewer.conversation.activeReply && same(shown(), stored);
  });
  assert.deepEqual(failures, []);
}

/** @param openCached as above */
async function followsVersions(t, { arrive, prepare }, openCached) {
  const { open } = await arrive(t);
  const other = open();
  const first = prepare();
  first.answer.write("first");
  first.answer.end();
  const { conversation, reply } = await startChat(other, first.question);
  await follow(other, reply).finished();
  const { id } = conversation;

  const device = open(undefined, openCached);
  await device.query(LIVE, { id });
  const failures = [];
  device.follow(id, (failure) => failures.push(failure));
  const agree = async (written) => {
    const stored = await other.query(LIVE, { id });
    const { activeReply } = stored.viewer.conversation;
    return Boolean(activeReply) !== written && same(device.cached(LIVE, { id }), stored);
  };
  /** While the reply is written, and once it is. */
  const follows = async (answer, reply) => {
    await until(() => agree(false));
    answer.write("another");
    answer.end();
    await follow(other, reply).finished();
    await until(() => agree(true));
  };
  await until(() => agree(true));
  const [asked] = device.cached(LIVE, { id }).viewer.conversation.messages.nodes;

  const edit = prepare();
  const input = { messageId: asked.id, content: edit.question };
  const { editMessage } = await other.mutate(EDIT_MESSAGE, input);
  await follows(edit.answer, editMessage.reply);
  const again = edit.again();
  const { regenerateReply } = await other.mutate(REGENERATE_REPLY, { messageId: editMessage.reply.id });
  await follows(again, regenerateReply.reply);
  for (const messageId of [editMessage.reply.id, asked.id]) {
    await other.mutate(SELECT_VERSION, { messageId });
    await until(() => agree(true));
  }
  assert.deepEqual(failures, []);
}

export const SEND = /* GraphQL */ `
  mutation Send($id: ID!, $content: String!) {
    sendMessage(input: { conversationId: $id, content: $content }) {
      reply {
        id
      }
    }
  }
`;

/** Lists have their order from times that this device does not ask for. */
function same(shown, stored) {
  const sorted = (data) => {
    const copy = JSON.parse(JSON.stringify(data, (key, value) => (key === "__typename" ? undefined : value)));
    copy.viewer.conversations.nodes.sort((one, other) => (one.id < other.id ? -1 : 1));
    return copy;
  };
  try {
    assert.deepEqual(sorted(shown), sorted(stored));
    return true;
  } catch {
    return false;
  }
}

export async function until(reached) {
  while (!(await reached())) await sleep(50);
}
