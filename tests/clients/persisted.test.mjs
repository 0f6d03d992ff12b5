/** Documents that clients name instead of sending them, with the set-ups of docs/persisted-operations.md. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, describe, it } from "node:test";
import { gql } from "@apollo/client";
import { parse, print } from "graphql";
import { startLoquat } from "../server.mjs";

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

const hash = (text, algorithm = "sha256") => createHash(algorithm).update(text).digest("hex");

/** As compilers write a document: with the fragments first, and with __typename where Apollo Client adds it. */
const compiled = {
  me: "fragment Name on Viewer {\n  externalId\n  __typename\n}\n\nquery Me {\n  viewer {\n    ...Name\n    __typename\n  }\n}",
  start: print(START),
  events: print(EVENTS),
};

/** What graphql-codegen's client preset, relay-compiler and generate-persisted-query-manifest write. */
const manifests = {
  "persisted-documents.json": {
    [hash(compiled.me, "sha1")]: compiled.me,
    [hash(compiled.start, "sha1")]: compiled.start,
    [hash(compiled.events, "sha1")]: compiled.events,
  },
  "persisted-queries.json": { [hash(compiled.me, "md5")]: compiled.me },
  "persisted-query-manifest.json": {
    format: "apollo-persisted-query-manifest",
    version: 1,
    operations: [
      { id: hash(compiled.me), name: "Me", type: "query", body: compiled.me },
      { id: hash(compiled.start), name: "Start", type: "mutation", body: compiled.start },
    ],
  },
};

let blocks;
let loaded = 0;

before(async () => {
  blocks = [...(await readFile(page, "utf8")).matchAll(/```js\n(.*?)```/gs)].map(([, code]) => code);
  assert.equal(blocks.length, 5);
});

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
    loadManifest: async () => manifests["persisted-query-manifest.json"],
    async fetch(url, init) {
      const body = init.method === "GET" ? new URL(url).searchParams.has("query") : "query" in JSON.parse(init.body);
      asked.push(`${init.method} ${body ? "text" : "name"}`);
      return fetch(url, init);
    },
  };
  const file = join(import.meta.dirname, `.persisted-${process.pid}-${name}.mjs`);
  const code = blocks[block]
    .replaceAll("https://chat.example.com", server.url)
    // Apollo Client takes its own from here.
    .replaceAll(/(uri: ".*?")/g, "$1, fetch");
  await writeFile(file, `const { getToken, loadManifest, fetch } = globalThis.${name};\n${code}`);
  t.after(() => rm(file));
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

describe("a server that runs trusted documents alone", { timeout }, () => {
  let folder;
  let server;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "loquat-manifests-"));
    const files = Object.entries(manifests).map(async ([name, manifest]) => {
      const file = join(folder, name);
      await writeFile(file, JSON.stringify(manifest));
      return file;
    });
    server = await startLoquat({
      LOQUAT_TRUSTED_DOCUMENTS: (await Promise.all(files)).join(","),
      LOQUAT_TRUSTED_DOCUMENTS_ONLY: "true",
    });
  });
  after(async () => {
    await server?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  it("answers urql with the hashes of graphql-codegen", async (t) => {
    const { client, asked } = await load(t, 2, server, "ann");
    const generated = (text) => ({ ...parse(text), __meta__: { hash: hash(text, "sha1") } });
    assert.equal(await urqlViewer(client, generated(compiled.me)), "ann");
    const started = await client.mutation(generated(compiled.start), {}).toPromise();
    assert.ok(started.data.startChat.conversation);
    const event = await new Promise((resolve) => {
      const { unsubscribe } = client
        .subscription(generated(compiled.events), {})
        .subscribe((result) => {
          resolve(result);
          queueMicrotask(() => unsubscribe());
        });
    });
    assert.equal(event.data.viewerEvents.__typename, "ViewerSnapshot", String(event.error));
    assert.ok(asked.every((request) => request.endsWith("name")), String(asked));

    const other = await client.query(generated(print(OTHER)), {}).toPromise();
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

  it("answers Relay with the ids of its compiler", async (t) => {
    const { fetchOperation } = await load(t, 4, server, "dora");
    const { data } = await fetchOperation({ id: hash(compiled.me, "md5") }, {});
    assert.equal(data.viewer.externalId, "dora");
  });
});
