import "graphiql/setup-workers/vite";
import "graphiql/style.css";
import "../base.css";
import "./graphiql.css";
import { createGraphiQLFetcher, type Fetcher } from "@graphiql/toolkit";
import { GraphiQL } from "graphiql";
import { type DocumentNode, Kind, parse } from "graphql";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { graphqlSocketUrl, graphqlUrl, signIn } from "../config";
import { credentialHeaders, getCredential, setCredential, useCredential } from "../credential";
import logo from "../loquat.svg";
import { SignInForm } from "../SignInForm";
import { Companion } from "./Companion";
import { defaultTabs, type TabDefinition } from "./tabs";

/**
 * Queries and mutations by POST, subscriptions over graphql-transport-ws. Made anew for each
 * operation, so that it is signed in as the bar above says at that moment. What stands in the
 * headers editor is added to both; a credential there takes the place of the bar's.
 */
const fetcher: Fetcher = (operation, options) => {
  const named = Object.keys(options?.headers ?? {}).map((name) => name.toLowerCase());
  const hasCredential = named.includes("authorization") || named.includes("x-user-id");
  const headers = hasCredential ? {} : credentialHeaders(getCredential());
  const fetchOnce = createGraphiQLFetcher({
    url: graphqlUrl,
    subscriptionUrl: graphqlSocketUrl,
    headers,
    wsConnectionParams: headers,
    enableIncrementalDelivery: false,
  });
  // Right after a change of tabs GraphiQL still names the operation of the tab before.
  const documentAST = parsed(operation.query);
  const names = documentAST?.definitions.flatMap((definition) =>
    definition.kind === Kind.OPERATION_DEFINITION ? [definition.name?.value] : [],
  );
  const operationName = names?.includes(operation.operationName ?? undefined)
    ? operation.operationName
    : names?.[0];
  return fetchOnce({ ...operation, operationName }, { ...options, documentAST });
};

function parsed(query: string): DocumentNode | undefined {
  try {
    return parse(query);
  } catch {
    return undefined; // the server says what is wrong with it
  }
}

/**
 * The tab to begin with. GraphiQL stores its tabs under one key and what its editors hold under
 * others, a moment apart; told nothing, it would mistake a difference for one more tab.
 */
function activeTab(): TabDefinition | undefined {
  try {
    const { tabs, activeTabIndex } = JSON.parse(localStorage.getItem("graphiql:tabState") ?? "");
    return tabs[activeTabIndex];
  } catch {
    return defaultTabs[0];
  }
}

const { query, variables } = activeTab() ?? {};

// The tour runs at once, without a sign-in before it.
if (signIn === "development" && !getCredential()) setCredential("developer");

function TopBar() {
  const credential = useCredential();
  return (
    <header className="top-bar">
      <a href="/" className="brand">
        <img src={logo} alt="" width={22} height={22} />
        Loquat
      </a>
      <SignInForm />
      <span role="status">{describe(credential)}</span>
      <a href="/" className="to-chat">
        Chat page
      </a>
    </header>
  );
}

function describe(credential: string | null): string {
  if (!credential) return "Not signed in";
  return signIn === "development" ? `Signed in as ${credential}` : "The token is sent with each operation";
}

function Page() {
  return (
    <>
      <TopBar />
      <main>
        <GraphiQL
          fetcher={fetcher}
          defaultTabs={defaultTabs}
          initialQuery={query ?? undefined}
          initialVariables={variables ?? undefined}
          defaultEditorToolsVisibility="variables"
        >
          <Companion />
        </GraphiQL>
      </main>
    </>
  );
}

const root = document.getElementById("root");
if (!root) throw new Error("the page has no #root");
createRoot(root).render(
  <StrictMode>
    <Page />
  </StrictMode>,
);
