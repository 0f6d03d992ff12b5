/** A `loquat` of its own for a test file: on a free port, with its own data folder. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";

const binary = resolve(process.env.LOQUAT_BIN ?? join(import.meta.dirname, "../target/debug/loquat"));

/** How long the server may take to start, and to stop. */
const patience = 60_000;

const signals = ["SIGINT", "SIGTERM"];

/**
 * Without settings: a fresh private database (or the one that LOQUAT_TEST_DATABASE_URL names), and
 * the demo assistant.
 *
 * @param {Record<string, string>} settings as environment variables
 */
export async function startLoquat(settings = {}) {
  const folder = await mkdtemp(join(tmpdir(), "loquat-test-"));
  // Under root the database runs as another user, who has to reach it.
  await chmod(folder, 0o755);
  // Nothing of the developer's own settings: neither variables nor a .env.
  const { PATH, HOME, LANG, LOQUAT_POSTGRES_BIN, LOQUAT_TEST_DATABASE_URL } = process.env;
  const options = {
    cwd: folder,
    env: {
      PATH,
      HOME,
      LANG,
      LOQUAT_POSTGRES_BIN,
      DATABASE_URL: LOQUAT_TEST_DATABASE_URL,
      LOQUAT_BIND: "127.0.0.1:0",
      // A model is asked for what a test asks for.
      LOQUAT_TITLES: "off",
      LOQUAT_DATA_DIR: join(folder, "data"),
      ...settings,
    },
  };
  const server = spawn(binary, ["serve"], options);
  const exited = once(server, "exit");
  const kill = () => server.kill("SIGKILL");

  let output = "";
  const url = await new Promise((found, failed) => {
    const read = (chunk) => {
      output += chunk;
      const [, address] = /running on (http:\S+)/.exec(output) ?? [];
      if (address) found(address);
    };
    server.stdout.on("data", read);
    server.stderr.on("data", read);
    const fail = (why) => failed(new Error(`${binary} ${why}; it said:\n${output}`));
    server.on("error", ({ message }) => fail(message));
    server.on("exit", (code) => fail(`ended with ${code}`));
    const limit = setTimeout(() => fail("did not say where it listens"), patience);
    limit.unref();
  }).catch(async (error) => {
    kill();
    await rm(folder, { recursive: true, force: true });
    throw error;
  });

  async function stop() {
    server.kill("SIGTERM");
    const limit = setTimeout(kill, patience);
    const [code] = await exited;
    clearTimeout(limit);
    process.off("exit", kill);
    for (const signal of signals) process.off(signal, interrupted);
    await rm(folder, { recursive: true, force: true });
    if (code !== 0) throw new Error(`the server ended with ${code}; it said:\n${output}`);
  }
  // The end of a test that was not let to its own end leaves nothing behind either.
  const interrupted = () => stop().finally(() => process.exit(1));
  for (const signal of signals) process.once(signal, interrupted);
  process.once("exit", kill);

  return {
    url,
    /** A JWT that names this user, of the server's own development issuer. */
    async token(user, ttl = "1h") {
      const { stdout } = await promisify(execFile)(binary, ["token", "--user", user, "--ttl", ttl], options);
      return stdout.trim();
    },
    /** What it has said so far. */
    output: () => output,
    stop,
  };
}
