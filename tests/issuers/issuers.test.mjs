/** Each issuer's tokens under its own settings, under every other's, and under all at once. */
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { startLoquat } from "../server.mjs";
import { startBetterAuth } from "./better-auth.mjs";
import { startPostgres } from "./database.mjs";
import { startDjango, startFlask } from "./python.mjs";
import { startLegacySupabase, startSupabase } from "./supabase.mjs";

const starts = {
  supabase: startSupabase,
  "supabase-legacy": startLegacySupabase,
  "better-auth": startBetterAuth,
  django: startDjango,
  flask: startFlask,
};

/** One text, whatever was wrong. */
const REFUSAL = "The credential was not accepted. Sign in again.";

/** The name that users bear under settings that are not a table of their own. */
const presets = { "supabase-legacy": "supabase", django: "jwt", flask: "jwt" };

describe("issuers", { timeout: 120_000 }, () => {
  let issuers = [];
  let DATABASE_URL;

  before(async () => {
    const started = await Promise.allSettled(Object.values(starts).map((start) => start()));
    issuers = started.flatMap(({ value }) => value ?? []);
    for (const { reason } of started) if (reason) throw reason;
    DATABASE_URL = await startPostgres();
  });

  after(() => Promise.all(issuers.map((issuer) => issuer.stop())));

  for (const name of Object.keys(starts)) {
    it(`${name} is believed under its own settings, and nobody else is`, async (t) => {
      const { settings } = issuers.find((issuer) => issuer.name === name);
      const server = await startLoquat({ DATABASE_URL, ...settings });
      t.after(() => server.stop());

      for (const issuer of issuers) {
        for (const [what, token] of Object.entries(issuer.accepted)) {
          const answer = await ask(server, token);
          if (issuer.name === name) {
            assertAccepted(answer, presets[name] ?? name, issuer.user, `${what} of ${issuer.name}`);
          } else {
            assertRefused(answer, `${what} of ${issuer.name}`);
          }
        }
        for (const [what, token] of Object.entries(issuer.refused)) {
          assertRefused(await ask(server, token), `${what} of ${issuer.name}`);
        }
      }
    });
  }

  it("all are believed at once, each for its own users", async (t) => {
    const folder = await mkdtemp(join(tmpdir(), "loquat-issuers-"));
    t.after(() => rm(folder, { recursive: true, force: true }));
    const LOQUAT_CONFIG = join(folder, "loquat.toml");
    await writeFile(LOQUAT_CONFIG, issuers.map(table).join("\n"));
    const server = await startLoquat({ DATABASE_URL, LOQUAT_CONFIG });
    t.after(() => server.stop());

    for (const issuer of issuers) {
      for (const [what, token] of Object.entries(issuer.accepted)) {
        assertAccepted(await ask(server, token), issuer.name, issuer.user, `${what} of ${issuer.name}`);
      }
      for (const [what, token] of Object.entries(issuer.refused)) {
        assertRefused(await ask(server, token), `${what} of ${issuer.name}`);
      }
    }
  });
});

/** In TOML, where JSON's strings are strings, too. */
function table({ name, table }) {
  const lines = Object.entries({ name, ...table }).map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`);
  return `[[issuers]]\n${lines.join("")}`;
}

async function ask({ url }, token) {
  const response = await fetch(`${url}/graphql`, {
    method: "POST",
    headers: {
      accept: "application/graphql-response+json",
      "content-type": "application/json",
      authorization: `Bearer ${token}`,
    },
    body: JSON.stringify({ query: "{ viewer { issuer externalId } }" }),
  });
  return { status: response.status, body: await response.json() };
}

function assertAccepted({ status, body }, issuer, externalId, what) {
  assert.deepEqual({ status, body }, { status: 200, body: { data: { viewer: { issuer, externalId } } } }, what);
}

/** Whoever is refused learns nothing: it is one answer for all. */
function assertRefused({ status, body }, what) {
  const [{ message, extensions }] = body.errors ?? [{}];
  assert.deepEqual(
    { status, data: body.data, code: extensions?.code, message },
    { status: 401, data: undefined, code: "UNAUTHENTICATED", message: REFUSAL },
    what,
  );
}
