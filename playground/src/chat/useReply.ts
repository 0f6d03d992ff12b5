import { type CombinedError, useSubscription } from "urql";
import { type Message, type MessageStreamEvent, messageStreamSubscription } from "./operations";

type StreamData = { messageStream: MessageStreamEvent };

type Reply = {
  /** Undefined until the first delta. */
  content?: string;
  finished?: Message;
};

/** One event of `messageStream`, applied to a reply that was empty when the subscription began. */
function applyEvent(reply: Reply = {}, event: MessageStreamEvent): Reply {
  switch (event.__typename) {
    case "MessageDelta":
      return { ...reply, content: (reply.content ?? "").slice(0, event.offset) + event.text };
    case "MessageFinished":
      return { ...reply, finished: event.message };
    default:
      return reply;
  }
}

type Followed = {
  message: Message;
  /** Why it is no longer followed, although it may still be running. */
  error?: CombinedError;
  follow: () => void;
};

/**
 * A message as it is now. While it is being written it is followed, wherever that writing began:
 * after a reload, or on another device, the first delta brings all the text so far.
 */
export function useReply(message: Message): Followed {
  const [{ data, error }, follow] = useSubscription<StreamData, Reply, { messageId: string }>(
    {
      query: messageStreamSubscription,
      variables: { messageId: message.id },
      pause: !isRunning(message),
    },
    (reply, { messageStream }) => applyEvent(reply, messageStream),
  );
  if (!isRunning(message)) return { message, follow };
  const current = data?.finished ?? { ...message, content: data?.content ?? message.content };
  return { message: current, error, follow };
}

export function isRunning({ status }: Message): boolean {
  return status === "PENDING" || status === "STREAMING";
}
