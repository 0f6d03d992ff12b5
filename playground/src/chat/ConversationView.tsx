import { useState } from "react";
import { useMutation, useQuery } from "urql";
import { Composer, type Draft } from "./Composer";
import { ConversationHeader } from "./ConversationHeader";
import { ErrorNotice, errorCode } from "./errors";
import { MessageView } from "./MessageView";
import {
  earlierMessagesQuery,
  type MessagePage,
  sendMessageMutation,
  stopReplyMutation,
} from "./operations";
import { useConversation, withText } from "./useConversation";

export function ConversationView({ id }: { id: string }) {
  const { conversation, isDeleted, texts, snapshots, error, follow } = useConversation(id);
  const [, sendMessage] = useMutation(sendMessageMutation);
  const [, stopReply] = useMutation(stopReplyMutation);

  async function send({ content, model }: Draft, idempotencyKey: string) {
    const { error } = await sendMessage({ input: { conversationId: id, content, model, idempotencyKey } });
    return error;
  }

  const isMissing = isDeleted || errorCode(error) === "NOT_FOUND";
  if (!conversation || isMissing) {
    return (
      <section className="empty">
        {isMissing ? (
          <p role="status">There is no such conversation.</p>
        ) : (
          <>
            {!error && <p role="status">Loading…</p>}
            <ErrorNotice error={error} onRetry={follow} />
          </>
        )}
      </section>
    );
  }
  const { activeReply, messages } = conversation;
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
            page={{ ...messages, nodes: messages.nodes.map((message) => withText(message, texts)) }}
            isBusy={activeReply !== null}
            snapshots={snapshots}
          />
        </div>
      </div>
      <ErrorNotice error={error} onRetry={follow} />
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
  /** With another one the pages before this one are read again. */
  snapshots: number;
};

/** A page of messages below the page before it, once that is asked for. */
function Messages({ conversationId, page, isBusy, snapshots }: MessagesProps) {
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
        <EarlierMessages
          key={snapshots}
          conversationId={conversationId}
          before={startCursor}
          isBusy={isBusy}
          snapshots={snapshots}
        />
      )}
      {page.nodes.map((message) => (
        <MessageView key={message.id} message={message} isBusy={isBusy} />
      ))}
    </>
  );
}

type EarlierProps = Omit<MessagesProps, "page"> & { before: string };

function EarlierMessages({ conversationId, before, isBusy, snapshots }: EarlierProps) {
  const [{ data, error }, refetch] = useQuery({
    query: earlierMessagesQuery,
    variables: { id: conversationId, before },
  });
  const page = data?.viewer.conversation?.messages;
  return (
    <>
      {page && (
        <Messages conversationId={conversationId} page={page} isBusy={isBusy} snapshots={snapshots} />
      )}
      <ErrorNotice error={error} onRetry={refetch} />
    </>
  );
}
