import { type FormEvent, useRef, useState } from "react";
import { type CombinedError, useMutation } from "urql";
import { ErrorNotice } from "./errors";
import {
  editMessageMutation,
  type Message,
  type Rating,
  rateMessageMutation,
  regenerateReplyMutation,
  selectVersionMutation,
} from "./operations";

type Props = {
  message: Message;
  /** A reply is being written: until its end there is no other way to go. */
  isBusy: boolean;
};

/** What can be done to one message: another version of it, the way to those before, and a thumb. */
export function MessageBar({ message, isBusy }: Props) {
  const { id: messageId, role, feedback, parent } = message;
  const [isEditing, setEditing] = useState(false);
  const [error, setError] = useState<CombinedError>();
  const [{ fetching }, regenerateReply] = useMutation(regenerateReplyMutation);
  const [, rateMessage] = useMutation(rateMessageMutation);

  async function regenerate() {
    setError((await regenerateReply({ input: { messageId } })).error);
  }

  async function rate(rating: Rating) {
    const input = { messageId, rating: feedback?.rating === rating ? null : rating };
    setError((await rateMessage({ input })).error);
  }

  return (
    <div className="message-bar" data-role={role}>
      {isEditing ? (
        <EditForm message={message} isBusy={isBusy} onClose={() => setEditing(false)} />
      ) : (
        <div className="actions" role="group" aria-label="Message">
          <Versions message={message} isBusy={isBusy} onError={setError} />
          {role === "USER" && (
            <button type="button" className="button" disabled={isBusy} onClick={() => setEditing(true)}>
              Edit
            </button>
          )}
          {role === "ASSISTANT" && parent && (
            <button
              type="button"
              className="button"
              disabled={isBusy || fetching}
              onClick={() => void regenerate()}
            >
              Regenerate
            </button>
          )}
          {role === "ASSISTANT" &&
            (["UP", "DOWN"] as const).map((rating) => (
              <button
                key={rating}
                type="button"
                className="button"
                aria-label={rating === "UP" ? "Good reply" : "Bad reply"}
                aria-pressed={feedback?.rating === rating}
                onClick={() => void rate(rating)}
              >
                {rating === "UP" ? "👍" : "👎"}
              </button>
            ))}
        </div>
      )}
      <ErrorNotice error={error} />
    </div>
  );
}

type VersionsProps = Props & { onError: (error: CombinedError | undefined) => void };

/** Nothing, unless there is a choice. */
function Versions({ message, isBusy, onError }: VersionsProps) {
  const { versionNumber, versionCount, versions } = message;
  const [, selectVersion] = useMutation(selectVersionMutation);
  if (versionCount < 2) return null;

  function arrow(label: string, sign: string, number: number) {
    const version = versions.find((version) => version.versionNumber === number);
    async function select(messageId: string) {
      onError((await selectVersion({ input: { messageId } })).error);
    }
    return (
      <button
        type="button"
        className="button"
        aria-label={label}
        disabled={isBusy || !version}
        onClick={() => version && void select(version.id)}
      >
        {sign}
      </button>
    );
  }

  return (
    <>
      {arrow("Version before", "‹", versionNumber - 1)}
      <span className="muted">
        {versionNumber} / {versionCount}
      </span>
      {arrow("Version after", "›", versionNumber + 1)}
    </>
  );
}

function EditForm({ message, isBusy, onClose }: Props & { onClose: () => void }) {
  const [content, setContent] = useState(message.content);
  const [{ fetching, error }, editMessage] = useMutation(editMessageMutation);
  // One key for one text, however often it is sent.
  const idempotencyKey = useRef(crypto.randomUUID());

  async function save(event: FormEvent) {
    event.preventDefault();
    const input = { messageId: message.id, content, idempotencyKey: idempotencyKey.current };
    if (!(await editMessage({ input })).error) onClose();
  }

  return (
    <form className="edit" onSubmit={(event) => void save(event)}>
      <textarea
        aria-label="In other words"
        value={content}
        onChange={(event) => {
          setContent(event.target.value);
          idempotencyKey.current = crypto.randomUUID();
        }}
        autoFocus
      />
      <div className="actions">
        <button
          type="submit"
          className="button primary"
          disabled={isBusy || fetching || content.trim() === ""}
        >
          Save
        </button>
        <button type="button" className="button" onClick={onClose}>
          Cancel
        </button>
      </div>
      <ErrorNotice error={error} />
    </form>
  );
}
