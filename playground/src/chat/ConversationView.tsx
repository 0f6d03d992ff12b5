import { useCallback, useState } from "react";
import { useMutation, useQuery } from "urql";
import { Composer, type Draft } from "./Composer";
import { ConversationHeader } from "./ConversationHeader";
import { ErrorNotice, errorCode } from "./errors";
import { MessageView } from "./MessageView";
import {
  conversationQuery,
  earlierMessagesQuery,
  type MessagePage,
  sendMessageMutation,
  stopReplyMutation,
} from "./operations";

export function ConversationView({ id }: { id: string }) {
  const [{ data, error, fetching }, refetch] = useQuery({ query: conversationQuery, variables: { id } });
  const [, sendMessage] = useMutation(sendMessageMutation);
  const [, stopReply] = useMutation(stopReplyMutation);
  const readAgain = useCallback(() => refetch({ requestPolicy: "network-only" }), [refetch]);

  async function send({ content, model }: Draft, idempotencyKey: string) {
    const { error } = await sendMessage({ input: { conversationId: id, content, model, idempotencyKey } });
    // Another device was quicker: its message and the running reply belong on the screen.
    if (errorCode(error) === "CONFLICT") readAgain();
    return error;
  }

  const conversation = data?.viewer.conversation;
  if (!conversation) {
    return (
      <section className="empty">
        {fetching && <p role="status">Loading…</p>}
        {data && !error && <p role="status">There is no such conversation.</p>}
        <ErrorNotice error={error} onRetry={readAgain} />
      </section>
    );
  }
  const { activeReply } = conversation;
  async function stop() {
    if (!activeReply) return;
    const { error } = await stopReply({ input: { messageId: activeReply.id } });
    return error;
  }

  return (
    <section className="conversation" aria-label={conversation.title ?? "Untitled chat"}>
      <ConversationHeader conversation={conversation} />
      <div className="scroll" tabIndex={0} role="region" aria-label="Messages">
        <div role="log" className="messages">
          <Messages
            conversationId={id}
            page={conversation.messages}
            isBusy={activeReply !== null}
            onEnded={readAgain}
          />
        </div>
      </div>
      <ErrorNotice error={error} onRetry={readAgain} />
      <Composer
        placeholder="Reply to the assistant"
        isBusy={activeReply !== null}
        model={conversation.model}
        onSend={send}
        onStop={stop}
      />
    </section>
  );
}

type MessagesProps = {
  conversationId: string;
  page: MessagePage;
  isBusy: boolean;
  onEnded: () => void;
};

/** A page of messages below the page before it, once that is asked for. */
function Messages({ conversationId, page, isBusy, onEnded }: MessagesProps) {
  const [showsEarlier, setShowsEarlier] = useState(false);
  const { hasPreviousPage, startCursor } = page.pageInfo;
  return (
    <>
      {hasPreviousPage && startCursor && !showsEarlier && (
        <button type="button" className="button earlier" onClick={() => setShowsEarlier(true)}>
          Show earlier messages
        </button>
      )}
      {hasPreviousPage && startCursor && showsEarlier && (
        <EarlierMessages conversationId={conversationId} before={startCursor} isBusy={isBusy} />
      )}
      {page.nodes.map((message) => (
        <MessageView key={message.id} message={message} isBusy={isBusy} onEnded={onEnded} />
      ))}
    </>
  );
}

type EarlierProps = { conversationId: string; before: string; isBusy: boolean };

function EarlierMessages({ conversationId, before, isBusy }: EarlierProps) {
  const [{ data, error }, refetch] = useQuery({
    query: earlierMessagesQuery,
    variables: { id: conversationId, before },
  });
  const page = data?.viewer.conversation?.messages;
  return (
    <>
      {page && (
        <Messages conversationId={conversationId} page={page} isBusy={isBusy} onEnded={refetch} />
      )}
      <ErrorNotice error={error} onRetry={refetch} />
    </>
  );
}
