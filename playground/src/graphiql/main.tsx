import "graphiql/setup-workers/vite";
import "graphiql/style.css";
import "../base.css";
import "./graphiql.css";
import { createGraphiQLFetcher, type Fetcher } from "@graphiql/toolkit";
import { GraphiQL } from "graphiql";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { graphqlSocketUrl, graphqlUrl, signIn } from "../config";
import { credentialHeaders, getCredential, useCredential } from "../credential";
import logo from "../loquat.svg";
import { SignInForm } from "../SignInForm";
import { Companion } from "./Companion";
import { defaultTabs } from "./tabs";

/**
 * Queries and mutations by POST, subscriptions over graphql-transport-ws. Made anew for each
 * operation, so that it is signed in as the bar above says at that moment; what stands in the
 * headers editor is added to both, and wins.
 */
const fetcher: Fetcher = (operation, options) => {
  const headers = credentialHeaders(getCredential());
  const fetchOnce = createGraphiQLFetcher({
    url: graphqlUrl,
    subscriptionUrl: graphqlSocketUrl,
    headers,
    wsConnectionParams: headers,
    enableIncrementalDelivery: false,
  });
  return fetchOnce(operation, options);
};

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
        <GraphiQL fetcher={fetcher} defaultTabs={defaultTabs} defaultEditorToolsVisibility="variables">
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
