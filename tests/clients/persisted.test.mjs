/** Documents that clients name instead of sending them, with the set-ups of docs/persisted-operations.md. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { ApolloClient, ApolloLink, gql, HttpLink, InMemoryCache } from "@apollo/client";
import { PersistedQueryLink } from "@apollo/client/link/persisted-queries";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
import { generatePersistedQueryIdsFromManifest } from "@apollo/persisted-query-lists";
import { Client, fetchExchange } from "@urql/core";
import { persistedExchange } from "@urql/exchange-persisted";
import { parse, print } from "graphql";
import { createClient } from "graphql-ws";
import relay from "relay-runtime";
import WebSocket from "ws";
import { startLoquat } from "../server.mjs";
import { compile } from "./relay/artifacts.mjs";

const page = resolve(import.meta.dirname, "../../docs/persisted-operations.md");
const timeout = 60_000;

const ME = gql`
  query Me {
    viewer {
      ...Name
    }
  }

  fragment Name on Viewer {
    externalId
  }
`;
const START = gql`
  mutation Start {
    startChat(input: {}) {
      conversation {
        title
      }
    }
  }
`;
const EVENTS = gql`
  subscription Events {
    viewerEvents {
      __typename
    }
  }
`;

const OTHER = gql`
  query Other {
    viewer {
      displayName
    }
  }
`;

const hash = (text) => createHash("sha256").update(text).digest("hex");

/** As generate-persisted-query-manifest writes them: with __typename, and the fragments first. */
const compiled = {
  me: "fragment Name on Viewer {\n  externalId\n  __typename\n}\n\nquery Me {\n  viewer {\n    ...Name\n    __typename\n  }\n}",
  start: print(START).replace("title", "title\n      __typename"),
  events: print(EVENTS),
};
const apolloManifest = {
  format: "apollo-persisted-query-manifest",
  version: 1,
  operations: [
    { id: hash(compiled.me), name: "Me", type: "query", body: compiled.me },
    { id: hash(compiled.start), name: "Start", type: "mutation", body: compiled.start },
    { id: hash(compiled.events), name: "Events", type: "subscription", body: compiled.events },
  ],
};

/** A new folder in which modules find the packages that they find here. */
async function newFolder() {
  const folder = await mkdtemp(join(tmpdir(), "loquat-persisted-"));
  await symlink(join(import.meta.dirname, "node_modules"), join(folder, "node_modules"));
  return folder;
}

/** What graphql-codegen, set up as the page says, makes of the documents: where the manifest is. */
async function codegen(folder) {
  await cp(join(import.meta.dirname, "../../schema.graphql"), join(folder, "schema.graphql"));
  const documents = [ME, START, EVENTS].map((document) => `graphql(\`${print(document)}\`);\n`);
  await mkdir(join(folder, "src"));
  await writeFile(join(folder, "src/app.tsx"), `import { graphql } from "./gql";\n${documents.join("")}`);
  await writeFile(join(folder, "codegen.ts"), codegenConfig);
  const { resolve } = createRequire(import.meta.url);
  const cli = resolve("@graphql-codegen/cli/package.json").replace("package.json", "cjs/bin.js");
  await promisify(execFile)(process.execPath, [cli, "--config", "codegen.ts"], { cwd: folder });
  return join(folder, "src/gql/persisted-documents.json");
}

let blocks;
let codegenConfig;
let modules;
let loaded = 0;

before(async () => {
  const text = await readFile(page, "utf8");
  blocks = [...text.matchAll(/```js\n(.*?)```/gs)].map(([, code]) => code);
  assert.equal(blocks.length, 5);
  [, codegenConfig] = /```ts\n(.*?)```/s.exec(text);
  modules = await newFolder();
});

after(() => rm(modules, { recursive: true }));

/**
 * What a block exports, asking this server as this user, and what it asked: methods, and whether a
 * document was in it.
 */
async function load(t, block, server, user) {
  // A module is loaded once for each name.
  const name = `loquatPersisted${(loaded += 1)}`;
  const asked = [];
  globalThis[name] = {
    getToken: () => server.token(user),
    loadManifest: async () => apolloManifest,
    async fetch(url, init) {
      const body = init.method === "GET" ? new URL(url).searchParams.has("query") : "query" in JSON.parse(init.body);
      asked.push(`${init.method} ${body ? "text" : "name"}`);
      return fetch(url, init);
    },
  };
  const file = join(modules, `${name}.mjs`);
  const code = blocks[block]
    .replaceAll("https://chat.example.com", server.url)
    // Apollo Client takes its own from here.
    .replaceAll(/(uri: ".*?")/g, "$1, fetch");
  await writeFile(file, `const { getToken, loadManifest, fetch } = globalThis.${name};\n${code}`);
  const { client, fetchOperation } = await import(file);
  if (client?.stop) t.after(() => client.stop());
  return { client, fetchOperation, asked };
}

/** Apollo Client asks for the viewer, not from its cache. */
async function apolloViewer(client) {
  const { data } = await client.query({ query: ME, fetchPolicy: "network-only" });
  return data.viewer.externalId;
}

/** urql does. */
async function urqlViewer(client, document = ME) {
  const { data, error } = await client.query(document, {}, { requestPolicy: "network-only" }).toPromise();
  assert.equal(error, undefined);
  return data.viewer.externalId;
}

/** The first event that urql hears. */
function urqlEvent(client, document) {
  return new Promise((resolve) => {
    const { unsubscribe } = client.subscription(document, {}).subscribe((result) => {
      resolve(result);
      queueMicrotask(() => unsubscribe());
    });
  });
}

/** Apollo Client's ways to subscribe. */
function subscriptionLinks(t, server, user) {
  const url = `${server.url}/graphql`;
  const credential = { "X-User-Id": user };
  const socket = createClient({
    url: url.replace("http", "ws"),
    webSocketImpl: WebSocket,
    connectionParams: credential,
  });
  t.after(() => socket.dispose());
  return [new GraphQLWsLink(socket), new HttpLink({ uri: url, headers: credential })];
}

/** The type of the first event that comes by a link. */
async function apolloEvent(t, link) {
  const client = new ApolloClient({ cache: new InMemoryCache(), link: ApolloLink.from([link]) });
  t.after(() => client.stop());
  const { data, error } = await new Promise((next, failed) => {
    const subscription = client.subscribe({ query: EVENTS }).subscribe({
      next(result) {
        next(result);
        queueMicrotask(() => subscription.unsubscribe());
      },
      error: failed,
    });
  });
  assert.equal(error, undefined);
  return data.viewerEvents.__typename;
}

describe("automatic persisted queries", { timeout }, () => {
  let server;

  before(async () => {
    server = await startLoquat();
  });
  after(() => server?.stop());

  it("Apollo Client sends a text once, and its hash by GET from then on", async (t) => {
    const { client, asked } = await load(t, 0, server, "ann");
    assert.equal(await apolloViewer(client), "ann");
    assert.equal(await apolloViewer(client), "ann");
    assert.deepEqual(asked, ["GET name", "POST text", "GET name"]);
    await client.mutate({ mutation: START });
    await client.mutate({ mutation: START });
    assert.deepEqual(asked.slice(3), ["POST name", "POST text", "POST name"]);

    // Another device need not send it at all.
    const other = await load(t, 0, server, "bob");
    assert.equal(await apolloViewer(other.client), "bob");
    assert.deepEqual(other.asked, ["GET name"]);
  });

  it("urql does the same", async (t) => {
    const { client, asked } = await load(t, 1, server, "cleo");
    assert.equal(await urqlViewer(client), "cleo");
    assert.equal(await urqlViewer(client), "cleo");
    assert.deepEqual(asked, ["GET name", "GET text", "GET name"]);
  });

  it("subscriptions of Apollo Client go on with the text, over sockets and in multipart answers", async (t) => {
    for (const link of subscriptionLinks(t, server, "dora")) {
      const hashed = new PersistedQueryLink({ sha256: hash });
      assert.equal(await apolloEvent(t, hashed.concat(link)), "ViewerSnapshot");
    }
  });

  it("subscriptions of urql do, as server-sent events", async () => {
    const asked = [];
    const document = "subscription Hear {\n  viewerEvents {\n    __typename\n  }\n}";
    for (const user of ["emil", "fay"]) {
      const client = new Client({
        url: `${server.url}/graphql`,
        fetchSubscriptions: true,
        fetchOptions: { headers: { "X-User-Id": user } },
        fetch(url, init) {
          asked.push("query" in JSON.parse(init.body) ? "text" : "name");
          return fetch(url, init);
        },
        exchanges: [persistedExchange({ enableForSubscriptions: true }), fetchExchange],
      });
      const event = await urqlEvent(client, document);
      assert.equal(event.data?.viewerEvents.__typename, "ViewerSnapshot", String(event.error));
    }
    // It takes the end of a stream for the refusal once more, and sends the text for each of them.
    assert.deepEqual(
      asked.filter((what, place) => what !== asked[place - 1]),
      ["name", "text", "name"],
    );
  });
});

describe("a server without automatic persisted queries", { timeout }, () => {
  let server;

  before(async () => {
    server = await startLoquat({ LOQUAT_AUTOMATIC_PERSISTED_QUERIES: "false" });
  });
  after(() => server?.stop());

  it("is sent texts by Apollo Client after the first hash", async (t) => {
    const { client, asked } = await load(t, 0, server, "ann");
    assert.equal(await apolloViewer(client), "ann");
    assert.equal(await apolloViewer(client), "ann");
    assert.deepEqual(
      asked.map((request) => request.split(" ")[1]),
      ["name", "text", "text"],
    );
  });

  it("is sent texts by urql after the first hash", async (t) => {
    const { client, asked } = await load(t, 1, server, "bob");
    assert.equal(await urqlViewer(client), "bob");
    assert.equal(await urqlViewer(client), "bob");
    assert.deepEqual(
      asked.map((request) => request.split(" ")[1]),
      ["name", "text", "text"],
    );
  });
});

describe("a server that runs trusted documents alone", { timeout: 2 * timeout }, () => {
  let folder;
  let server;
  let generated;
  let artifact;

  before(async () => {
    folder = await newFolder();
    const fromCodegen = await codegen(folder);
    generated = Object.entries(JSON.parse(await readFile(fromCodegen, "utf8")));
    const fromRelay = join(folder, "persisted-queries.json");
    await writeFile(fromRelay, "{}");
    const documents = ["query AppQuery {\n  viewer {\n    externalId\n  }\n}"];
    const artifacts = await compile({ App: documents }, { persistConfig: { file: fromRelay, algorithm: "SHA256" } });
    artifact = artifacts.get("AppQuery");
    const fromApollo = join(folder, "persisted-query-manifest.json");
    await writeFile(fromApollo, JSON.stringify(apolloManifest));
    server = await startLoquat({
      LOQUAT_TRUSTED_DOCUMENTS: [fromCodegen, fromRelay, fromApollo].join(","),
      LOQUAT_TRUSTED_DOCUMENTS_ONLY: "true",
    });
  });
  after(async () => {
    await server?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  it("answers urql with the hashes of graphql-codegen", async (t) => {
    const { client, asked } = await load(t, 2, server, "ann");
    const document = (name) => {
      const [hash, text] = generated.find(([, text]) => text.includes(name));
      return { ...parse(text), __meta__: { hash } };
    };
    assert.equal(await urqlViewer(client, document("query Me")), "ann");
    const started = await client.mutation(document("mutation Start"), {}).toPromise();
    assert.ok(started.data.startChat.conversation, String(started.error));
    const event = await urqlEvent(client, document("subscription Events"));
    assert.equal(event.data?.viewerEvents.__typename, "ViewerSnapshot", String(event.error));
    assert.ok(asked.every((request) => request.endsWith("name")), String(asked));

    const other = await client.query({ ...OTHER, __meta__: { hash: hash("another text") } }, {}).toPromise();
    assert.deepEqual(
      other.error.graphQLErrors.map(({ extensions }) => extensions.code),
      ["PERSISTED_QUERY_NOT_FOUND"],
    );
  });

  it("answers Apollo Client with the ids of its manifest, and refuses other documents", async (t) => {
    const { client, asked } = await load(t, 3, server, "bob");
    assert.equal(await apolloViewer(client), "bob");
    await client.mutate({ mutation: START });
    assert.deepEqual(asked, ["POST name", "POST name"]);

    const automatic = await load(t, 0, server, "cleo");
    const refusal = await automatic.client.query({ query: OTHER }).catch((error) => error);
    assert.deepEqual(
      refusal.errors.map(({ extensions }) => extensions.code),
      ["FORBIDDEN"],
    );
    assert.deepEqual(automatic.asked, ["GET name", "POST text"]);
  });

  it("answers Apollo Client over sockets and in multipart answers", async (t) => {
    const named = new PersistedQueryLink(
      generatePersistedQueryIdsFromManifest({ loadManifest: async () => apolloManifest }),
    );
    for (const link of subscriptionLinks(t, server, "emil")) {
      assert.equal(await apolloEvent(t, named.concat(link)), "ViewerSnapshot");
    }
  });

  it("answers Relay with the ids of its compiler", async (t) => {
    const { fetchOperation } = await load(t, 4, server, "dora");
    assert.equal(artifact.params.text, null);
    const environment = new relay.Environment({
      network: relay.Network.create(fetchOperation),
      store: new relay.Store(new relay.RecordSource()),
    });
    const { viewer } = await relay.fetchQuery(environment, artifact, {}).toPromise();
    assert.equal(viewer.externalId, "dora");
  });
});
