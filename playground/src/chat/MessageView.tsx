import { memo, useEffect } from "react";
import Markdown, { type Components } from "react-markdown";
import remarkGfm from "remark-gfm";
import { ErrorNotice } from "./errors";
import type { Message } from "./operations";
import { useReply } from "./useReply";

type Props = {
  message: Message;
  /** Called once, when a message that was being written no longer is. */
  onFinished: () => void;
};

export const MessageView = memo(function MessageView({ message: stored, onFinished }: Props) {
  const { message, error } = useReply(stored);
  const isRunning = message.status === "PENDING" || message.status === "STREAMING";

  const hasJustFinished = message !== stored && !isRunning;
  useEffect(() => {
    if (hasJustFinished) onFinished();
  }, [hasJustFinished, onFinished]);

  if (message.role === "USER") {
    return (
      <article className="message user" aria-label="You">
        <p>{message.content}</p>
      </article>
    );
  }
  return (
    <article
      className="message assistant"
      aria-label="Assistant"
      aria-busy={isRunning}
      data-status={message.status}
    >
      {message.content ? (
        <Markdown remarkPlugins={remarkPlugins} components={components}>
          {message.content}
        </Markdown>
      ) : (
        isRunning && <p className="muted">Thinking…</p>
      )}
      {message.status === "FAILED" && (
        <p className="error">{message.error?.message ?? "The reply failed."}</p>
      )}
      {message.truncated && <p className="muted">The reply ends here: the model's length limit.</p>}
      <ErrorNotice error={error} />
    </article>
  );
});

const remarkPlugins = [remarkGfm];

const components: Components = {
  a: ({ node: _, ...props }) => <a {...props} target="_blank" rel="noopener noreferrer" />,
  // Shown as a link: an image would be fetched from whatever host the model names.
  img: ({ src, alt }) => (
    <a href={src} target="_blank" rel="noopener noreferrer">
      {alt || src}
    </a>
  ),
  table: ({ node: _, ...props }) => (
    // A wide table scrolls within its message, also from the keyboard.
    <div className="table" tabIndex={0} role="region" aria-label="Table">
      <table {...props} />
    </div>
  ),
  pre: ({ node: _, ...props }) => <pre tabIndex={0} {...props} />,
};
