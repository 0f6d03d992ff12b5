/** One throw-away PostgreSQL for all servers of a test file, which goes when this process does. */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";

const script = resolve(import.meta.dirname, "../../scripts/test_postgres.py");

/** @returns {Promise<string>} its URL */
export async function startPostgres() {
  const folder = await mkdtemp(join(tmpdir(), "loquat-issuers-"));
  try {
    const variables = join(folder, "variables");
    await promisify(execFile)("python3", [script], { env: { ...process.env, NEXTEST_ENV: variables } });
    const [, url] = /^LOQUAT_TEST_DATABASE_URL=(.*)$/m.exec(await readFile(variables, "utf8"));
    return url;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
