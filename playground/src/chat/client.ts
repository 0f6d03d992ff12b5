import { createClient as createSocket } from "graphql-ws";
import { cacheExchange, Client, fetchExchange, subscriptionExchange } from "urql";
import { graphqlSocketUrl, graphqlUrl } from "../config";
import { credentialHeaders } from "../credential";

/**
 * urql with its document cache: an answer is kept under its operation, and a mutation throws away
 * every answer that holds a type which it changed; what is on the screen is then read again.
 *
 * One client for each user, so that nothing of one is ever shown to the next.
 */
export function createClient(credential: string): Client {
  const headers = credentialHeaders(credential);
  const socket = createSocket({
    url: graphqlSocketUrl,
    connectionParams: headers,
    // After a cut it subscribes again by itself, and each subscription first brings it up to date.
    retryAttempts: Number.POSITIVE_INFINITY,
  });
  return new Client({
    url: graphqlUrl,
    fetchOptions: { headers },
    requestPolicy: "cache-and-network",
    exchanges: [
      cacheExchange,
      fetchExchange,
      subscriptionExchange({
        forwardSubscription: ({ query = "", variables }) => ({
          subscribe: (sink) => ({ unsubscribe: socket.subscribe({ query, variables }, sink) }),
        }),
      }),
    ],
  });
}
