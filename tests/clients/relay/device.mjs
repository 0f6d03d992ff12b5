/** A Relay environment of a user's, and their chat through it. React is not needed. */
import relay from "relay-runtime";
import * as documents from "../documents.mjs";
import * as live from "../live.mjs";
import { openSocketClient } from "../socket.mjs";
import { compile, relayed } from "./artifacts.mjs";

const { commitMutation, createOperationDescriptor, Environment, fetchQuery, Network, Observable } = relay;
const { RecordSource, requestSubscription, Store } = relay;

const operations = [...Object.values(documents), ...Object.values(live)]
  .filter((value) => typeof value === "string" && /^\s*(query|mutation|subscription) \w/.test(value))
  .map(relayed);
const artifacts = await compile(Object.fromEntries(operations.map(({ module, document }) => [module, [document]])));

/** The artifact of a document. */
export function artifactOf(document) {
  return artifacts.get(relayed(document).name);
}

export function openRelay(way) {
  const { url, fetch } = way;
  const socket = openSocketClient(way);
  const ask = async ({ text: query }, variables) => {
    const response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ query, variables }),
    });
    return response.json();
  };
  const follow = ({ text: query, name: operationName }, variables) =>
    Observable.create((sink) => socket.subscribe({ operationName, query, variables }, sink));
  const environment = new Environment({
    network: Network.create(ask, follow),
    store: new Store(new RecordSource()),
  });

  return {
    environment,
    query: (document, variables) => fetchQuery(environment, artifactOf(document), variables).toPromise(),
    mutate: (document, variables) => commit(environment, { mutation: artifactOf(document), variables }),
    subscribe(document, variables, { next, error, complete }, updater) {
      const { dispose } = requestSubscription(environment, {
        subscription: artifactOf(document),
        variables,
        updater,
        onNext: next,
        onError: error,
        onCompleted: complete,
      });
      return dispose;
    },
    /** What a component would be shown, without asking the server. */
    cached(document, variables) {
      const { fragment } = createOperationDescriptor(artifactOf(document), variables);
      return environment.lookup(fragment).data;
    },
    close: () => socket.dispose(),
  };
}

/** @returns {Promise<object>} the mutation's data */
export function commit(environment, config) {
  return new Promise((onCompleted, onError) => {
    const completed = (data, errors) => (errors?.length ? onError(errors) : onCompleted(data));
    commitMutation(environment, { ...config, onCompleted: completed, onError });
  });
}
