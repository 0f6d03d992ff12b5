/**
 * schemathesis on a running server: whatever operation it makes of the schema is answered, with data
 * of the schema's types or with a refusal.
 *
 * For LOQUAT_FUZZ_SECONDS, a few by default.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { it } from "node:test";
import { startLoquat } from "../server.mjs";

const seconds = Number(process.env.LOQUAT_FUZZ_SECONDS ?? 20);
const packages = resolve(import.meta.dirname, "../../.deps/schemathesis");
const user = { "X-User-Id": "ann" };

it("schemathesis finds nothing", { timeout: (seconds + 120) * 1000 }, async (t) => {
  const server = await startLoquat();
  const folder = await mkdtemp(join(tmpdir(), "loquat-schemathesis-"));
  t.after(async () => {
    await rm(folder, { recursive: true, force: true });
    await server.stop();
  });
  const url = `${server.url}/graphql`;
  const ids = await someIds(url);
  const found = await run(
    folder,
    { PYTHONPATH: packages, SCHEMATHESIS_HOOKS: join(import.meta.dirname, "hooks.py"), LOQUAT_IDS: ids.join(" ") },
    [
      ...["run", url, "--max-time", String(seconds), "--continue-on-failure", "--warnings", "off", "--no-color"],
      ...["--checks", "answered,response_schema_conformance,content_type_conformance"],
      ...Object.entries(user).flatMap(([name, value]) => ["--header", `${name}: ${value}`]),
    ],
  );
  t.diagnostic(found.output.match(/Test cases:\s+(.*)/)?.[1] ?? "no summary");
  assert.equal(found.code, 0, found.output);
  const [, all, tested] = found.output.match(/Selected: (\d+)\/\1\s+Tested: (\d+)/) ?? [];
  assert.equal(tested, all, found.output);
  assert.doesNotMatch(server.output(), /ERROR|panicked/);
});

/** Ids of each kind that the user has. */
async function someIds(url) {
  const ask = async (query, variables) => {
    const answer = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json", ...user },
      body: JSON.stringify({ query, variables }),
    });
    const { data, errors } = await answer.json();
    assert.equal(errors, undefined);
    return data;
  };
  const { startChat } = await ask(
    `mutation { startChat(input: { message: "hi" }) { conversation { id } userMessage { id } reply { id } } }`,
  );
  const { createApiKey } = await ask(
    `mutation { createApiKey(input: { name: "x", scopes: [READ] }) { apiKey { id } } }`,
  );
  const { conversation, userMessage, reply } = startChat;
  return [conversation, userMessage, reply, createApiKey.apiKey].map(({ id }) => id);
}

async function run(cwd, env, args) {
  const { PATH, HOME, LANG } = process.env;
  const child = spawn("python3", ["-c", "from schemathesis.cli import schemathesis; schemathesis()", ...args], {
    cwd,
    env: { PATH, HOME, LANG, PYTHONUNBUFFERED: "1", ...env },
  });
  let output = "";
  child.stdout.on("data", (chunk) => (output += chunk));
  child.stderr.on("data", (chunk) => (output += chunk));
  const [code] = await once(child, "exit");
  return { code, output };
}
