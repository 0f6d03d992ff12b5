import { memo } from "react";
import Markdown, { type Components } from "react-markdown";
import remarkGfm from "remark-gfm";
import { MessageBar } from "./MessageBar";
import type { Message } from "./operations";
import { isRunning } from "./useConversation";

type Props = {
  message: Message;
  /** A reply of the conversation is being written. */
  isBusy: boolean;
};

export const MessageView = memo(function MessageView({ message, isBusy }: Props) {
  return (
    <>
      {message.role === "USER" ? (
        <article className="message user" aria-label="You">
          <p>{message.content}</p>
        </article>
      ) : (
        <Reply message={message} />
      )}
      {!isRunning(message) && <MessageBar message={message} isBusy={isBusy} />}
    </>
  );
});

function Reply({ message }: { message: Message }) {
  return (
    <article
      className="message assistant"
      aria-label="Assistant"
      aria-busy={isRunning(message)}
      data-status={message.status}
    >
      {message.content ? (
        <Markdown remarkPlugins={remarkPlugins} components={components}>
          {message.content}
        </Markdown>
      ) : (
        isRunning(message) && <p className="muted">Thinking…</p>
      )}
      {message.status === "STOPPED" && <p className="muted">You stopped this reply.</p>}
      {message.status === "FAILED" && (
        <p className="error">{message.error?.message ?? "The reply failed."}</p>
      )}
      {message.truncated && <p className="muted">The reply ends here: the model's length limit.</p>}
    </article>
  );
}

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
