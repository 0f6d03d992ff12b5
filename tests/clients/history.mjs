/** A chat window over a normalised cache: pages, messages shown before they are stored, and other versions. */
import assert from "node:assert/strict";
import { it } from "node:test";
import { START_EMPTY } from "./documents.mjs";
import { until } from "./live.mjs";
import { follow, sendMessage, startChat } from "./suite.mjs";

const MESSAGE = `id role status content`;
const PAGE = `edges { cursor node { ${MESSAGE} } } pageInfo { hasPreviousPage hasNextPage startCursor endCursor }`;

/** The newest messages of a conversation, then those before. */
export const HISTORY = `
  query History($id: ID!, $last: Int!, $before: String) {
    viewer { id conversation(id: $id) { id messages(last: $last, before: $before) { ${PAGE} } } }
  }
`;

/** The conversations, those with the newest message first. */
export const CHATS = `
  query Chats($first: Int!, $after: String) {
    viewer {
      id
      conversations(first: $first, after: $after) {
        edges { cursor node { id title } }
        pageInfo { hasPreviousPage hasNextPage startCursor endCursor }
      }
    }
  }
`;

export const SEND_SHOWN = `
  mutation SendShown($input: SendMessageInput!) {
    sendMessage(input: $input) {
      userMessageEdge { cursor node { ${MESSAGE} } }
      replyEdge { cursor node { ${MESSAGE} } }
    }
  }
`;

export const RENAME = `
  mutation Rename($input: UpdateConversationInput!) {
    updateConversation(input: $input) { conversation { id title } }
  }
`;

const timeout = 40_000;

/** How many rows a window asks for at once. */
export const ROWS = 2;

/** What moves the active path answers with its newest page. */
const changes = {
  edit: ["EditShown", "editMessage", "EditMessageInput", "reply { id }"],
  regenerate: ["RegenerateShown", "regenerateReply", "RegenerateReplyInput", "reply { id }"],
  select: ["SelectShown", "selectVersion", "SelectVersionInput", ""],
};

/** The mutations by these names, each with an input, as a window wants them answered. */
export function changesWith(conversation) {
  return Object.fromEntries(
    Object.entries(changes).map(([how, [name, field, input, more]]) => [
      how,
      `mutation ${name}($input: ${input}!) { ${field}(input: $input) { ${conversation} ${more} } }`,
    ]),
  );
}

export const CHANGES = changesWith(`conversation { id messages(last: ${ROWS}) { ${PAGE} } }`);

/** What a send is taken to come to, until its answer is there. */
export function hoped(content) {
  const edge = (id, role, status, text) => ({
    __typename: "MessageEdge",
    cursor: "",
    node: { __typename: "Message", id, role, status, content: text },
  });
  return {
    sendMessage: {
      __typename: "SendMessagePayload",
      userMessageEdge: edge("hoped-message", "USER", "COMPLETED", content),
      replyEdge: edge("hoped-reply", "ASSISTANT", "PENDING", ""),
    },
  };
}

/** What a new title is taken to come to. */
export function hopedTitle(id, title) {
  return {
    updateConversation: {
      __typename: "UpdateConversationPayload",
      conversation: { __typename: "Conversation", id, title },
    },
  };
}

/**
 * A device whose window shows what its cache holds.
 *
 * @typedef {object} Window
 * @property {(id: string) => Promise<void>} show the newest messages of a conversation
 * @property {() => object[]} shown its messages, as they are shown now
 * @property {() => Promise<boolean>} earlier shows a page more; false: there was none
 * @property {() => Promise<void>} list the first conversations
 * @property {() => object[]} listed their ids and titles
 * @property {() => Promise<boolean>} further shows a page more; false: there was none
 * @property {(id: string, content: string) => Promise<object>} send shows it at once
 * @property {(id: string, title: string) => Promise<object>} rename shows it at once
 * @property {(how: "edit" | "regenerate" | "select", input: object) => Promise<object>} change the active path
 */

/** @param {(way: object) => Window} openWindow */
export function testHistory({ arrive, prepare, stored }, openWindow) {
  /** Has a reply written. */
  async function finish(client, reply, answer, text) {
    const feed = follow(client, reply);
    answer.write(text);
    answer.end();
    await feed.finished();
  }

  /** A conversation of three questions and their answers. */
  async function converse(client) {
    const first = prepare();
    const { conversation, reply } = await startChat(client, first.question);
    await finish(client, reply, first.answer, "first");
    for (const text of ["second", "third"]) {
      const { question, answer } = prepare();
      await finish(client, await sendMessage(client, conversation, question), answer, text);
    }
    return conversation;
  }

  // A reply that nobody follows goes from PENDING to STREAMING unheard.
  const bare = (messages) => messages.map(({ id, role, content }) => ({ id, role, content }));

  /** The window and the server agree, to the beginning of the conversation. */
  async function assertShown(window, user, conversation) {
    const expected = bare(await stored(user, conversation));
    const agreed = () => {
      const shown = bare(window.shown());
      return shown.length > 0 && same(shown, expected.slice(-shown.length));
    };
    await until(agreed);
    while (await window.earlier());
    assert.deepEqual(bare(window.shown()), expected);
  }

  it("shows each message and each conversation once, page by page", { timeout }, async (t) => {
    const { user, open } = await arrive(t);
    const other = open();
    const conversation = await converse(other);
    const chats = [conversation.id];
    for (let number = 0; number < 4; number += 1) {
      chats.unshift((await other.mutate(START_EMPTY, {})).startChat.conversation.id);
    }
    const window = open(undefined, openWindow);

    await window.show(conversation.id);
    const all = bare(await stored(user, conversation));
    for (const rows of [2, 4, 6]) {
      assert.deepEqual(bare(window.shown()), all.slice(-rows));
      assert.equal(await window.earlier(), rows < 6);
    }
    assert.deepEqual(bare(window.shown()), all);

    await window.list();
    for (const rows of [2, 4, 5]) {
      assert.deepEqual(
        window.listed().map(({ id }) => id),
        chats.slice(0, rows),
      );
      assert.equal(await window.further(), rows < 5);
    }
  });

  it("shows a message before it is stored, then once, and no longer where it was refused", { timeout }, async (t) => {
    const { user, open, hold } = await arrive(t);
    const other = open();
    const conversation = await converse(other);
    const window = open(undefined, openWindow);
    await window.show(conversation.id);
    const before = bare(window.shown());
    const { question, answer } = prepare();

    const release = hold();
    const sent = window.send(conversation.id, question);
    await until(() => window.shown().length === before.length + 2);
    assert.deepEqual(bare(window.shown()).slice(-2), [
      { id: "hoped-message", role: "USER", content: question },
      { id: "hoped-reply", role: "ASSISTANT", content: "" },
    ]);
    release();
    const { replyEdge } = (await sent).sendMessage;
    const ids = (messages) => messages.map(({ id }) => id);
    const after = ids((await stored(user, conversation)).slice(-4));
    await until(() => same(ids(window.shown()), after));

    // A reply is being written: the next is refused.
    const releaseNext = hold();
    const refused = window.send(conversation.id, "Too early");
    const failed = assert.rejects(refused);
    await until(() => window.shown().at(-2).content === "Too early");
    releaseNext();
    await failed;
    await until(() => same(ids(window.shown()), after));
    await finish(other, replyEdge.node, answer, "fourth");
  });

  it("shows a new title before it is stored, and the old one again where it was refused", { timeout }, async (t) => {
    const { open, hold } = await arrive(t);
    const { conversation } = (await open().mutate(START_EMPTY, {})).startChat;
    const window = open(undefined, openWindow);
    await window.list();
    const title = () => window.listed()[0].title;

    const release = hold();
    const renamed = window.rename(conversation.id, "  Renamed ");
    await until(() => title() === "  Renamed ");
    release();
    const stored = (await renamed).updateConversation.conversation.title;
    await until(() => title() === stored);

    const tooLong = "x".repeat(256);
    const releaseNext = hold();
    const failed = assert.rejects(window.rename(conversation.id, tooLong));
    await until(() => title() === tooLong);
    releaseNext();
    await failed;
    await until(() => title() === stored);
  });

  it("shows no stale message after an edit, another reply, and the choice of a version", { timeout }, async (t) => {
    const { user, open } = await arrive(t);
    const other = open();
    const conversation = await converse(other);
    const window = open(undefined, openWindow);
    await window.show(conversation.id);
    while (await window.earlier());
    const [asked, , second] = await stored(user, conversation);

    const edit = prepare();
    const { editMessage } = await window.change("edit", { messageId: second.id, content: edit.question });
    await assertShown(window, user, conversation);
    await finish(window, editMessage.reply, edit.answer, "edited");

    const again = prepare();
    const { editMessage: first } = await window.change("edit", { messageId: asked.id, content: again.question });
    await assertShown(window, user, conversation);
    await finish(window, first.reply, again.answer, "anew");

    const rewritten = again.again();
    const { regenerateReply } = await window.change("regenerate", { messageId: first.reply.id });
    await assertShown(window, user, conversation);
    await finish(window, regenerateReply.reply, rewritten, "once more");

    for (const messageId of [first.reply.id, asked.id, second.id, regenerateReply.reply.id]) {
      await window.change("select", { messageId });
      await assertShown(window, user, conversation);
    }
  });
}

function same(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
}
