/** What relay-compiler makes of documents, as a front end's build would. */
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const compiler = createRequire(import.meta.url).resolve("relay-compiler/cli.js");
const schema = join(import.meta.dirname, "../../../schema.graphql");

/**
 * Compiles against schema.graphql.
 *
 * @param {Record<string, string[]>} modules the documents of each, named as Relay wants it
 * @param {object} settings of the compiler's, beside those that bring the artifacts here
 * @returns {Promise<Map<string, object>>} by names: queries, mutations, subscriptions, fragments
 */
export async function compile(modules, settings = {}) {
  const folder = await mkdtemp(join(tmpdir(), "loquat-relay-"));
  try {
    await mkdir(join(folder, "src"));
    await mkdir(join(folder, "artifacts"));
    await cp(schema, join(folder, "schema.graphql"));
    for (const [module, documents] of Object.entries(modules)) {
      const source = documents.map((document) => `graphql\`${document}\`;\n`).join("");
      await writeFile(join(folder, "src", `${module}.js`), source);
    }
    const config = {
      src: "src",
      schema: "schema.graphql",
      language: "javascript",
      ...settings,
      artifactDirectory: "artifacts",
      eagerEsModules: false,
    };
    await writeFile(join(folder, "relay.config.json"), JSON.stringify(config));
    await promisify(execFile)(process.execPath, [compiler, "relay.config.json"], { cwd: folder });

    const require = createRequire(join(folder, "artifacts/"));
    const files = await readdir(join(folder, "artifacts"));
    return new Map(files.map((file) => [file.replace(".graphql.js", ""), require(`./${file}`)]));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The operation as Relay wants it named, after its module. */
export function relayed(document) {
  const [, kind, name] = /(query|mutation|subscription) (\w+)/.exec(document);
  const renamed = name + kind[0].toUpperCase() + kind.slice(1);
  return { module: name, name: renamed, document: document.replace(`${kind} ${name}`, `${kind} ${renamed}`) };
}
