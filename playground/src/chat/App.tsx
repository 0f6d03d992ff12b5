import { useMemo } from "react";
import { Provider, useQuery } from "urql";
import { signIn } from "../config";
import { setCredential, useCredential } from "../credential";
import logo from "../loquat.svg";
import { SignInForm } from "../SignInForm";
import { ConversationList } from "./ConversationList";
import { ConversationView } from "./ConversationView";
import { createClient } from "./client";
import { ErrorNotice, errorCode } from "./errors";
import { NewChat } from "./NewChat";
import { viewerQuery } from "./operations";
import { navigate, useRoute } from "./route";

export function App() {
  const credential = useCredential();
  const client = useMemo(() => (credential ? createClient(credential) : null), [credential]);
  if (!client) return <SignInPage />;
  return (
    <Provider value={client} key={credential}>
      <Chat />
    </Provider>
  );
}

function SignInPage({ refused }: { refused?: string }) {
  return (
    <main className="sign-in">
      <img src={logo} alt="" width={56} height={56} />
      <h1>Loquat</h1>
      <p>
        {signIn === "development"
          ? "This server is in development: any name is a user, and each has their own chats."
          : "Sign in with a token of the issuer that this server trusts."}
      </p>
      {refused && (
        <p role="alert" className="error">
          {refused}
        </p>
      )}
      <SignInForm autoFocus />
      <a href="/graphiql">GraphiQL</a>
    </main>
  );
}

function Chat() {
  const [{ data, error }, refetch] = useQuery({ query: viewerQuery });
  const route = useRoute();
  if (errorCode(error) === "UNAUTHENTICATED") return <SignInPage refused={error?.graphQLErrors[0]?.message} />;
  return (
    <div className="chat" data-view={route.view}>
      <aside>
        <div className="brand">
          <img src={logo} alt="" width={24} height={24} />
          Loquat
        </div>
        <ConversationList openId={route.view === "conversation" ? route.id : undefined} />
        <footer>
          <span className="who">{data?.viewer.displayName ?? data?.viewer.externalId}</span>
          <a href="/graphiql">GraphiQL</a>
          <button type="button" className="link" onClick={signOut}>
            Sign out
          </button>
        </footer>
      </aside>
      <main>
        <ErrorNotice error={error} onRetry={refetch} />
        {route.view === "conversation" ? (
          <ConversationView key={route.id} id={route.id} />
        ) : (
          <NewChat />
        )}
      </main>
    </div>
  );
}

function signOut() {
  setCredential(null);
  navigate({ view: "list" });
}
