/** Which client was seen to do what: the tables of docs/clients.md, made of what has passed. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const page = join(import.meta.dirname, "../../docs/clients.md");
const [BEGIN, END] = ["<!-- what has passed -->", "<!-- so far -->"];

/** What each column takes: these tests, passed. A client that has none of them is not meant. */
const columns = new Map([
  ["send, stream", ["chats, signed in by name", "chats, signed in by JWT"]],
  ["same events", ["hears the same events in the same order as every other client"]],
  [
    "cut in mid-reply",
    [
      "has the exact text after a cut in mid-reply",
      "has the exact text of a reply that ended while the socket was cut",
      "has the exact text of one subscription that is cut six times",
    ],
  ],
  ["token ends", ["goes on with a fresh token when one ends in mid-reply"]],
  ["edits, versions", ["edits, has a reply written anew, and goes back"]],
  ["pages", ["shows each message and each conversation once, page by page"]],
  [
    "optimistic",
    [
      "shows a message before it is stored, then once, and no longer where it was refused",
      "shows a new title before it is stored, and the old one again where it was refused",
    ],
  ],
  [
    "nothing stale",
    [
      "shows no stale message after an edit, another reply, and the choice of a version",
      "holds in its cache what the server holds, after a cut in mid-reply",
      "holds in its cache what the server holds, after another device has chosen other versions",
    ],
  ],
]);

/** The clients, by the suites that are theirs. */
const rows = new Map([
  ["graphql-ws", "graphql-ws"],
  ["graphql-sse", "graphql-sse"],
  ["Apollo Client over WebSockets", "Apollo Client, WebSocket"],
  ["Apollo Client over multipart answers", "Apollo Client, multipart"],
  ["urql over WebSockets", "urql, WebSocket"],
  ["urql over server-sent events", "urql, server-sent events"],
  ["Relay over WebSockets", "Relay, WebSocket"],
]);

/** What is counted, by its suite. */
const counted = new Map([
  ["the server audits of graphql-http", "GraphQL over HTTP, by the server audits of graphql-http"],
  ["Loquat, by graphql-transport-ws", "WebSocket, by the rules of graphql-transport-ws"],
  ["graphql-codegen", "graphql-codegen, from the file and from a running server, with TypeScript"],
]);

/** @param {Map<string, Map<string, boolean>>} results by suite and test: whether it has passed */
export function tablesOf(results) {
  return `${clientsIn(results)}\n\n${countsIn(results)}`;
}

function countsIn(results) {
  const body = [...counted].map(([suite, name]) => {
    const outcomes = [...(results.get(suite) ?? new Map()).values()];
    return [name, `${outcomes.filter(Boolean).length} of ${outcomes.length}`];
  });
  return written([["", "passed"], ...body]);
}

function written([head, ...body]) {
  return [head, head.map(() => "---"), ...body].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

function clientsIn(results) {
  const head = ["", ...columns.keys()];
  const body = [...rows].map(([suite, name]) => {
    const tests = results.get(suite) ?? new Map();
    const cells = [...columns.values()].map((needed) => {
      const outcomes = needed.map((test) => tests.get(test));
      if (outcomes.every((outcome) => outcome === undefined)) return "–";
      return outcomes.every(Boolean) ? "✓" : "✗";
    });
    return [name, ...cells];
  });
  return written([head, ...body]);
}

/** The tables as the page has them. */
export function published() {
  const text = readFileSync(page, "utf8");
  return text.slice(text.indexOf(BEGIN) + BEGIN.length, text.indexOf(END)).trim();
}

export function publish(tables) {
  const text = readFileSync(page, "utf8");
  const [before, after] = [text.slice(0, text.indexOf(BEGIN)), text.slice(text.indexOf(END))];
  writeFileSync(page, `${before}${BEGIN}\n\n${tables}\n\n${after}`);
}
