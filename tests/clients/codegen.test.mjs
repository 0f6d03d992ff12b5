/** What graphql-codegen makes of the schema, from its file and by introspection, and what TypeScript says to it. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import {
  buildClientSchema,
  buildSchema,
  getIntrospectionQuery,
  isIntrospectionType,
  isSpecifiedScalarType,
  lexicographicSortSchema,
  printType,
} from "graphql";
import { startLoquat } from "../server.mjs";

const run = promisify(execFile);
const require = createRequire(import.meta.url);
const schemaFile = join(import.meta.dirname, "../../schema.graphql");

/** A front end of a few lines. The last of them is a mistake, and has to be found. */
const PROGRAM = `
import type { TypedDocumentNode } from "@graphql-typed-document-node/core";
import { graphql } from "./gql";

export declare function ask<Data, Variables>(document: TypedDocumentNode<Data, Variables>, variables: Variables): Data;

const Chat = graphql(\`
  query Chat($id: ID!) {
    viewer {
      externalId
      conversation(id: $id) {
        title
        messages(last: 20) {
          nodes {
            status
            content
            createdAt
          }
        }
      }
    }
  }
\`);

const Send = graphql(\`
  mutation Send($input: SendMessageInput!) {
    sendMessage(input: $input) {
      reply {
        id
      }
    }
  }
\`);

const Stream = graphql(\`
  subscription Stream($id: ID!) {
    messageStream(messageId: $id) {
      __typename
      ... on MessageDelta {
        offset
        text
      }
      ... on MessageFinished {
        message {
          content
        }
      }
    }
  }
\`);

const { viewer } = ask(Chat, { id: "conversation" });
export const user: string = viewer.externalId;
export const title: string | null | undefined = viewer.conversation?.title;
export const texts: string[] = (viewer.conversation?.messages.nodes ?? [])
  .filter(({ status }) => status === "COMPLETED")
  .map(({ content, createdAt }) => createdAt + content);

export const reply: string | undefined = ask(Send, { input: { conversationId: "conversation", content: "Hello" } })
  .sendMessage?.reply.id;

const { messageStream } = ask(Stream, { id: "reply" });
export const text: string = messageStream.__typename === "MessageDelta" ? messageStream.text : "";

// @ts-expect-error The conversation may not be there.
export const wrong = viewer.conversation.title;
// @ts-expect-error The content is missing.
ask(Send, { input: { conversationId: "conversation" } });
`;

describe("graphql-codegen", { timeout: 120_000 }, () => {
  let server;
  let authorization;
  const folders = [];

  before(async () => {
    server = await startLoquat();
    authorization = `Bearer ${await server.token("codegen")}`;
  });

  after(async () => {
    await server?.stop();
    for (const folder of folders) await rm(folder, { recursive: true });
  });

  /** @returns {Promise<string>} the folder of the program and of what was generated for it */
  async function generate(schema) {
    const folder = await mkdtemp(join(tmpdir(), "loquat-codegen-"));
    folders.push(folder);
    await symlink(join(import.meta.dirname, "node_modules"), join(folder, "node_modules"));
    await cp(schemaFile, join(folder, "schema.graphql"));
    await writeFile(join(folder, "chat.ts"), PROGRAM);
    const config = {
      schema,
      documents: ["chat.ts"],
      generates: {
        "./gql/": {
          preset: "client",
          presetConfig: { persistedDocuments: true, fragmentMasking: false },
          config: { scalars: { DateTime: "string", SafeInt: "number" }, strictScalars: true },
        },
      },
    };
    await writeFile(join(folder, "codegen.json"), JSON.stringify(config));
    const cli = require.resolve("@graphql-codegen/cli/package.json").replace("package.json", "cjs/bin.js");
    await run(process.execPath, [cli, "--config", "codegen.json"], { cwd: folder });
    return folder;
  }

  const read = (folder, file) => readFile(join(folder, "gql", file), "utf8");
  const ask = async (body) => {
    const headers = { "content-type": "application/json", authorization };
    const response = await fetch(`${server.url}/graphql`, { method: "POST", headers, body: JSON.stringify(body) });
    return response.json();
  };

  it("makes types and trusted documents of the file that a program is checked with", async () => {
    const folder = await generate("schema.graphql");
    const options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "preserve", "--target", "es2022"];
    const tsc = join(import.meta.dirname, "node_modules/typescript/bin/tsc");
    const complain = ({ stdout }) => assert.fail(stdout);
    await run(process.execPath, [tsc, ...options, "chat.ts"], { cwd: folder }).catch(complain);

    const documents = Object.values(JSON.parse(await read(folder, "persisted-documents.json")));
    assert.equal(documents.length, 3);
    const chat = documents.find((document) => document.startsWith("query Chat"));
    const { data } = await ask({ query: chat, variables: { id: "conversation" } });
    assert.equal(data.viewer.externalId, "codegen");
  });

  it("makes the same of a running server", async () => {
    const fromFile = await generate("schema.graphql");
    const fromServer = await generate([{ [`${server.url}/graphql`]: { headers: { authorization } } }]);
    for (const file of ["graphql.ts", "gql.ts", "persisted-documents.json"]) {
      assert.equal(await read(fromServer, file), await read(fromFile, file));
    }
  });

  it("reads the whole schema, whatever its introspection asks for", async () => {
    const expected = printed(buildSchema(await readFile(schemaFile, "utf8")));
    const all = { schemaDescription: true, specifiedByUrl: true, directiveIsRepeatable: true };
    for (const options of [{}, all, { ...all, inputValueDeprecation: true }, { ...all, oneOf: true }]) {
      const { data, errors } = await ask({ query: getIntrospectionQuery(options) });
      assert.equal(errors, undefined, JSON.stringify(options));
      assert.equal(printed(buildClientSchema(data)), expected);
    }
  });
});

/** Its types. The file does not say where a scalar is specified. */
function printed(schema) {
  const types = Object.values(lexicographicSortSchema(schema).getTypeMap());
  const own = types.filter((type) => !isIntrospectionType(type) && !isSpecifiedScalarType(type));
  return own.map((type) => printType(type).replace(/ @specifiedBy\(.*\)$/, "")).join("\n\n");
}
