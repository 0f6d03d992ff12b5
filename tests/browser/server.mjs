/** A `loquat` of its own for a test file: on a free port, with a fresh database and the demo assistant. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const binary = resolve(process.env.LOQUAT_BIN ?? join(import.meta.dirname, "../../target/debug/loquat"));
const startLimit = AbortSignal.timeout(60_000);

export async function startLoquat() {
  const folder = await mkdtemp(join(tmpdir(), "loquat-browser-"));
  // Under root the database runs as another user, who has to reach it.
  await chmod(folder, 0o755);
  // Nothing of the developer's own settings: neither variables nor a .env.
  const { PATH, HOME, LANG, LOQUAT_POSTGRES_BIN } = process.env;
  const server = spawn(binary, ["serve"], {
    cwd: folder,
    env: {
      PATH,
      HOME,
      LANG,
      LOQUAT_POSTGRES_BIN,
      LOQUAT_BIND: "127.0.0.1:0",
      LOQUAT_DATA_DIR: join(folder, "data"),
    },
  });
  const exited = once(server, "exit");

  let output = "";
  const url = await new Promise((found, failed) => {
    const read = (chunk) => {
      output += chunk;
      const address = /http:\/\/127\.0\.0\.1:[1-9]\d*/.exec(output);
      if (address) found(address[0]);
    };
    server.stdout.on("data", read);
    server.stderr.on("data", read);
    const fail = (why) => failed(new Error(`${binary} ${why}; it said:\n${output}`));
    server.on("error", ({ message }) => fail(message));
    server.on("exit", (code) => fail(`ended with ${code}`));
    startLimit.addEventListener("abort", () => fail("did not say where it listens"));
  }).catch(async (error) => {
    server.kill("SIGKILL");
    await rm(folder, { recursive: true, force: true });
    throw error;
  });

  return {
    url,
    async stop() {
      server.kill("SIGTERM");
      const [code] = await exited;
      await rm(folder, { recursive: true, force: true });
      if (code !== 0) throw new Error(`the server ended with ${code}; it said:\n${output}`);
    },
  };
}
