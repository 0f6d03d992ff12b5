import { type CombinedError, useSubscription } from "urql";
import {
  type ConversationEvent,
  type ConversationWithMessages,
  conversationEventsSubscription,
  type Message,
} from "./operations";

type EventData = { conversationEvents: ConversationEvent };

type Live = {
  conversation?: ConversationWithMessages;
  isDeleted: boolean;
  /** What is being written, by the id of its message, as this subscription has told it. */
  texts: Record<string, string>;
  /** How many snapshots there were: what was read besides them is as old as the one before. */
  snapshots: number;
};

const nothingYet: Live = { isDeleted: false, texts: {}, snapshots: 0 };

/** One event, applied to what this device holds. */
function applyEvent(live: Live = nothingYet, event: ConversationEvent): Live {
  const { conversation, texts } = live;
  switch (event.__typename) {
    case "ConversationSnapshot":
      return { ...live, conversation: event.conversation, snapshots: live.snapshots + 1 };
    case "MessageAdded":
      return withMessages(live, (messages) => [...messages, event.messageEdge.node]);
    case "MessageChanged":
    case "MessageFinished":
      return withMessages(live, (messages) =>
        messages.map((message) => (message.id === event.message.id ? event.message : message)),
      );
    case "MessageDelta": {
      const text = (texts[event.messageId] ?? "").slice(0, event.offset) + event.text;
      return { ...live, texts: { ...texts, [event.messageId]: text } };
    }
    case "ConversationChanged":
      return conversation ? { ...live, conversation: { ...conversation, ...event.conversation } } : live;
    case "ConversationDeleted":
      return { ...live, conversation: undefined, isDeleted: true };
    default:
      return live;
  }
}

function withMessages(live: Live, change: (messages: Message[]) => Message[]): Live {
  const { conversation } = live;
  if (!conversation) return live;
  const { messages } = conversation;
  return {
    ...live,
    conversation: { ...conversation, messages: { ...messages, nodes: change(messages.nodes) } },
  };
}

/**
 * A conversation as it is now, whichever device changes it. After a cut the first event is a
 * snapshot again, so nothing here knows of connections.
 */
export function useConversation(id: string): Live & { error?: CombinedError; follow: () => void } {
  const [{ data = nothingYet, error }, follow] = useSubscription<EventData, Live, { id: string }>(
    { query: conversationEventsSubscription, variables: { id } },
    (live, { conversationEvents }) => applyEvent(live, conversationEvents),
  );
  return { ...data, error, follow };
}

/** A message with what has been written of it. */
export function withText(message: Message, texts: Record<string, string>): Message {
  const text = texts[message.id];
  return isRunning(message) && text !== undefined ? { ...message, content: text } : message;
}

export function isRunning({ status }: Message): boolean {
  return status === "PENDING" || status === "STREAMING";
}
