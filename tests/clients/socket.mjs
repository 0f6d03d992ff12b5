/** The client of graphql-ws, as the libraries that have no WebSockets of their own use it. */
import { createClient } from "graphql-ws";
import WebSocket from "ws";
import { waiting } from "./suite.mjs";

export function openSocketClient(way, options) {
  return createClient({
    url: way.socketUrl,
    webSocketImpl: WebSocket,
    connectionParams: way.credential,
    ...waiting(way),
    ...options,
  });
}
