import { type FormEvent, type KeyboardEvent, useId, useRef, useState } from "react";
import { type CombinedError, useQuery } from "urql";
import { ErrorNotice } from "./errors";
import { modelsQuery } from "./operations";

export type Draft = { content: string; model?: string };

type Props = {
  placeholder: string;
  /** A reply is being written: the next message waits for its end. */
  isBusy: boolean;
  /** The model that is used unless the user chooses; undefined for the server's default. */
  model?: string;
  /** Resolves to the error, or to nothing when the server has stored the message. */
  onSend: (draft: Draft, idempotencyKey: string) => Promise<CombinedError | undefined>;
  /** Ends the reply that is being written; resolves like `onSend`. */
  onStop?: () => Promise<CombinedError | undefined>;
};

export function Composer({ placeholder, isBusy, model, onSend, onStop }: Props) {
  const [content, setContent] = useState("");
  const [chosenModel, setChosenModel] = useState<string>();
  const [isSending, setSending] = useState(false);
  const [isStopping, setStopping] = useState(false);
  const [error, setError] = useState<CombinedError>();
  // One key for one draft, however often it is sent: if the server has stored the message and only
  // its answer was lost, sending it again stores nothing more.
  const idempotencyKey = useRef(crypto.randomUUID());
  const id = useId();

  function edit(change: () => void) {
    change();
    idempotencyKey.current = crypto.randomUUID();
  }

  const canSend = !isBusy && !isSending && content.trim() !== "";

  async function send() {
    if (!canSend) return;
    setSending(true);
    const failure = await onSend({ content, model: chosenModel }, idempotencyKey.current);
    setSending(false);
    setError(failure);
    if (!failure) edit(() => setContent(""));
  }

  async function stop() {
    setStopping(true);
    setError(await onStop?.());
    setStopping(false);
  }

  function submit(event: FormEvent) {
    event.preventDefault();
    void send();
  }

  function sendOnEnter(event: KeyboardEvent) {
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    void send();
  }

  return (
    <form className="composer" onSubmit={submit}>
      <ErrorNotice error={error} onRetry={canSend ? () => void send() : undefined} />
      <label htmlFor={id} className="visually-hidden">
        Message
      </label>
      <textarea
        id={id}
        rows={1}
        value={content}
        placeholder={placeholder}
        readOnly={isSending}
        onChange={(event) => edit(() => setContent(event.target.value))}
        onKeyDown={sendOnEnter}
        autoFocus
      />
      <div className="composer-bar">
        <ModelSelect
          value={chosenModel ?? model}
          onChange={(name) => edit(() => setChosenModel(name))}
        />
        <span className="muted hint">
          {isBusy ? (
            "The assistant is writing…"
          ) : (
            <span className="keys">Enter sends, Shift+Enter breaks the line</span>
          )}
        </span>
        {isBusy && onStop ? (
          <button type="button" className="button" disabled={isStopping} onClick={() => void stop()}>
            Stop
          </button>
        ) : (
          <button type="submit" className="button primary" disabled={!canSend}>
            Send
          </button>
        )}
      </div>
    </form>
  );
}

/** Nothing, unless there is a choice. */
function ModelSelect({ value, onChange }: { value?: string; onChange: (name: string) => void }) {
  const [{ data }] = useQuery({ query: modelsQuery, requestPolicy: "cache-first" });
  const models = data?.models ?? [];
  if (models.length < 2) return null;
  return (
    <select
      aria-label="Model"
      value={value ?? models.find(({ isDefault }) => isDefault)?.name}
      onChange={(event) => onChange(event.target.value)}
    >
      {models.map(({ name }) => (
        <option key={name}>{name}</option>
      ))}
    </select>
  );
}
