/**
 * schemathesis on a running server: whatever operation it makes of the schema is answered, with data
 * of the schema's types or with a refusal.
 *
 * For LOQUAT_FUZZ_SECONDS, a few by default; beginning with LOQUAT_FUZZ_SEED, any by default.
 */
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { it } from "node:test";
import { promisify } from "node:util";
import { startLoquat } from "../server.mjs";

const seconds = Number(process.env.LOQUAT_FUZZ_SECONDS ?? 20);
const seed = process.env.LOQUAT_FUZZ_SEED ?? String(randomInt(2 ** 32));
const packages = resolve(import.meta.dirname, "../../.deps/schemathesis");
const user = { "X-User-Id": "ann" };

it("schemathesis finds nothing", { timeout: (seconds + 120) * 1000 }, async (t) => {
  await havePython();
  const server = await startLoquat();
  const folder = await mkdtemp(join(tmpdir(), "loquat-schemathesis-"));
  t.after(async () => {
    await rm(folder, { recursive: true, force: true });
    await server.stop();
  });
  const url = `${server.url}/graphql`;
  const ids = await someIds(url);
  t.diagnostic(`LOQUAT_FUZZ_SEED=${seed}`);
  const found = await run(
    t,
    folder,
    { PYTHONPATH: packages, SCHEMATHESIS_HOOKS: join(import.meta.dirname, "hooks.py"), LOQUAT_IDS: ids.join(" ") },
    [
      ...["run", url, "--max-time", String(seconds), "--seed", seed, "--continue-on-failure", "--warnings", "off", "--no-color"],
      ...["--checks", "answered,response_schema_conformance,content_type_conformance"],
      ...Object.entries(user).flatMap(([name, value]) => ["--header", `${name}: ${value}`]),
    ],
  );
  t.diagnostic(found.output.match(/Test cases:\s+(.*)/)?.[1] ?? "no summary");
  assert.equal(found.code, 0, found.output);
  const operations = found.output.match(/Selected: (\d+)\/\1\s+Tested: (\d+)/);
  assert.ok(operations, found.output);
  const [, all, tested] = operations;
  assert.equal(tested, all, found.output);
  assert.doesNotMatch(server.output(), /ERROR|panicked/);
});

/** schemathesis runs on no older one, and says so in many lines. */
async function havePython() {
  const version = ["-c", "import sys; print(*sys.version_info[:2])"];
  const { stdout } = await promisify(execFile)("python3", version);
  const [major, minor] = stdout.split(" ").map(Number);
  assert.ok(major > 3 || minor >= 11, `schemathesis needs Python 3.11 or newer, and python3 is ${major}.${minor}`);
}

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

async function run(t, cwd, env, args) {
  const { PATH, HOME, LANG } = process.env;
  const child = spawn("python3", ["-c", "from schemathesis.cli import schemathesis; schemathesis()", ...args], {
    cwd,
    env: { PATH, HOME, LANG, PYTHONUNBUFFERED: "1", ...env },
  });
  let output = "";
  child.stdout.on("data", (chunk) => (output += chunk));
  child.stderr.on("data", (chunk) => (output += chunk));
  t.after(() => child.kill("SIGKILL"));
  const [code] = await once(child, "close");
  return { code, output };
}
