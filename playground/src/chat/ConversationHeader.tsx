import { type FormEvent, useState } from "react";
import { type CombinedError, useMutation } from "urql";
import { ConfirmButton } from "./ConfirmButton";
import { ErrorNotice } from "./errors";
import {
  type Conversation,
  deleteConversationMutation,
  resetConversationMutation,
  updateConversationMutation,
} from "./operations";
import { hrefOf, navigate } from "./route";

export function ConversationHeader({ conversation }: { conversation: Conversation }) {
  const { id: conversationId, title, pinned, archived } = conversation;
  const [isRenaming, setRenaming] = useState(false);
  const [error, setError] = useState<CombinedError>();
  const [, updateConversation] = useMutation(updateConversationMutation);
  const [, resetConversation] = useMutation(resetConversationMutation);
  const [, deleteConversation] = useMutation(deleteConversationMutation);

  async function update(change: { title?: string | null; pinned?: boolean; archived?: boolean }) {
    const { error } = await updateConversation({ input: { conversationId, ...change } });
    setError(error);
    return !error;
  }

  async function rename(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const title = String(new FormData(event.currentTarget).get("title")).trim();
    if (await update({ title: title || null })) setRenaming(false);
  }

  async function reset() {
    setError((await resetConversation({ input: { conversationId } })).error);
  }

  async function remove() {
    // A deleted thing has no type that the cache could look for: it is told which lists to read again.
    const { error } = await deleteConversation(
      { input: { conversationId } },
      { additionalTypenames: ["Conversation"] },
    );
    setError(error);
    if (!error) navigate({ view: "list" });
  }

  return (
    <header className="conversation-header">
      <a href={hrefOf({ view: "list" })} className="button back">
        Chats
      </a>
      {isRenaming ? (
        <form className="rename" onSubmit={rename}>
          <input name="title" aria-label="Title" defaultValue={title ?? ""} autoFocus />
          <button type="submit" className="button primary">
            Save
          </button>
          <button type="button" className="button" onClick={() => setRenaming(false)}>
            Cancel
          </button>
        </form>
      ) : (
        <>
          <h1>{title ?? "Untitled chat"}</h1>
          <div className="actions" role="group" aria-label="Conversation">
            <button type="button" className="button" onClick={() => setRenaming(true)}>
              Rename
            </button>
            <button type="button" className="button" onClick={() => void update({ pinned: !pinned })}>
              {pinned ? "Unpin" : "Pin"}
            </button>
            <button type="button" className="button" onClick={() => void update({ archived: !archived })}>
              {archived ? "Unarchive" : "Archive"}
            </button>
            <ConfirmButton
              label="Reset"
              question="Remove every message of this chat? The chat itself stays."
              onConfirm={() => void reset()}
            />
            <ConfirmButton
              label="Delete"
              question="Delete this chat with all its messages?"
              onConfirm={() => void remove()}
            />
          </div>
        </>
      )}
      <ErrorNotice error={error} />
    </header>
  );
}
