/** Runs every test, says what each client was seen to do, and holds docs/clients.md to it (`--write` writes it). */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { run } from "node:test";
import { spec, tap } from "node:test/reporters";
import { publish, published, tablesOf } from "./table.mjs";

const files = readdirSync(import.meta.dirname)
  .filter((name) => name.endsWith(".test.mjs"))
  .map((name) => join(import.meta.dirname, name));

/** By suite and test: whether it has passed. */
const results = new Map();
/** The tests of the suite in hand. They are told before it, and file after file. */
let tests = new Map();
const told = (passed) => (event) => {
  if (!passed) process.exitCode = 1;
  if (event.nesting > 0) {
    tests.set(event.name, passed && event.skip === undefined);
  } else {
    results.set(event.name, tests);
    tests = new Map();
  }
};

const stream = run({ files, concurrency: 2 });
stream.on("test:pass", told(true));
stream.on("test:fail", told(false));
const report = process.stdout.isTTY ? stream.compose(new spec()) : stream.compose(tap);
for await (const text of report) process.stdout.write(text);

const tables = tablesOf(results);
process.stdout.write(`\n${tables.replaceAll(/^/gm, "# ")}\n`);
if (process.argv.includes("--write")) publish(tables);
if (tables !== published()) {
  process.stdout.write("\n# docs/clients.md has other tables. `npm run table` writes these.\n");
  process.exitCode = 1;
}
