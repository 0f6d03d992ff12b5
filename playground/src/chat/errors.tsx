import type { CombinedError } from "urql";

/** The `extensions.code` of an answer's first error; undefined if no answer came. */
export function errorCode(error: CombinedError | undefined): unknown {
  return error?.graphQLErrors[0]?.extensions.code;
}

function describe(error: CombinedError): string {
  if (error.networkError) return `The server did not answer: ${error.networkError.message}`;
  return error.graphQLErrors.map(({ message }) => message).join(" ");
}

export function ErrorNotice({ error, onRetry }: { error?: CombinedError; onRetry?: () => void }) {
  if (!error) return null;
  return (
    <p role="alert" className="error">
      {describe(error)}
      {onRetry && (
        <button type="button" className="button" onClick={() => onRetry()}>
          Try again
        </button>
      )}
    </p>
  );
}
