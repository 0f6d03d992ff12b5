/** Every rule of `graphql-transport-ws`, over Loquat and, as a control, over the protocol's own server. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { startLoquat } from "../server.mjs";
import { startControl } from "./transport-ws/control.mjs";
import { control, rules } from "./transport-ws/rules.mjs";
import { describeServer } from "./transport-ws/suite.mjs";

/** What a rule says. */
const NORMATIVE = /\b(must|will|should|only|can|may|free|ready|recommended|regardless|ignores?|permissable|needs)\b/i;

const tests = describeServer("Loquat, by graphql-transport-ws", async () => {
  // A conversation begins with a reply that is over.
  const { url, stop } = await startLoquat({ LOQUAT_GREETING: "Hello." });
  return { url: `${url.replace("http", "ws")}/graphql`, stop };
});
describeServer("the reference server, by graphql-transport-ws", startControl, control);

describe("the rules of graphql-transport-ws", () => {
  const text = readFileSync(join(import.meta.dirname, "node_modules/graphql-ws/PROTOCOL.md"), "utf8");

  it("are all of its text", () => {
    const quotes = rules.map(([quote]) => quote);
    assert.deepEqual(quotes.filter((quote) => !text.includes(quote)), []);
    const sentences = text
      .replace(/```.*?```/gs, "")
      .split("\n")
      .flatMap((line) => line.split(/(?<=\.)\s/))
      .filter((sentence) => NORMATIVE.test(sentence));
    assert.ok(sentences.length > 30);
    const unheld = sentences.filter((sentence) => !quotes.some((quote) => sentence.includes(quote)));
    assert.deepEqual(unheld, []);
  });

  it("have each a test, and each test its rule", () => {
    const named = rules.flatMap(([, held]) => (typeof held === "string" ? [] : held));
    assert.deepEqual(new Set(named), tests);
    assert.deepEqual([...control.keys()].filter((name) => !tests.has(name)), []);
  });
});
