/** GraphQL over HTTP, held by the audits of its reference implementation. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { serverAudits } from "graphql-http";
import { startLoquat } from "../server.mjs";

/** How many there are in this version of graphql-http. A newer one with more is to be looked at. */
const AUDITS = 61;

describe("the server audits of graphql-http", { timeout: 60_000 }, () => {
  let server;
  let authorization;
  const options = {
    url: () => `${server.url}/graphql`,
    fetchFn: (url, init) => fetch(url, { ...init, headers: { ...init?.headers, authorization } }),
  };
  const audits = serverAudits(options);

  before(async () => {
    assert.equal(audits.length, AUDITS);
    server = await startLoquat();
    authorization = `Bearer ${await server.token("auditor")}`;
  });

  after(() => server?.stop());

  for (const { id, name, fn } of audits) {
    it(`${id}: ${name}`, async () => {
      const { status, reason, response } = await fn();
      const answer = response && `${response.status} ${response.headers.get("content-type")}`;
      assert.equal(status, "ok", `${reason}; the answer was ${answer}`);
    });
  }
});
