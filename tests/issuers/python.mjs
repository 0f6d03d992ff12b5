/** Issuers that are Python programs: Django SimpleJWT and Flask-JWT-Extended. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";

const packages = resolve(import.meta.dirname, "../../.deps/issuers");
const credentials = { username: "ann", password: "a password of Ann's" };

export async function startDjango() {
  const folder = await mkdtemp(join(tmpdir(), "loquat-django-"));
  const secret = randomBytes(32).toString("hex");
  const app = await start("django_issuer.py", {
    SECRET_KEY: secret,
    DATABASE: join(folder, "db.sqlite3"),
  });
  const { access, refresh } = await post(`${app.url}/api/token/`, credentials);
  const again = await post(`${app.url}/api/token/refresh/`, { refresh });
  return {
    name: "django",
    settings: { JWT_SECRET_KEY: secret, JWT_USER_CLAIM: "user_id" },
    table: { secret, user_claim: "user_id" },
    user: app.user,
    accepted: { "access token": access, "refreshed access token": again.access },
    refused: { "refresh token": refresh },
    async stop() {
      await app.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export async function startFlask() {
  const secret = randomBytes(32).toString("hex");
  const app = await start("flask_issuer.py", { JWT_SECRET_KEY: secret });
  const { access, refresh } = await post(`${app.url}/login`, credentials);
  const again = await post(`${app.url}/refresh`, undefined, { authorization: `Bearer ${refresh}` });
  return {
    name: "flask",
    settings: { JWT_SECRET_KEY: secret },
    table: { secret },
    user: app.user,
    accepted: { "access token": access, "refreshed access token": again.access },
    refused: { "refresh token": refresh },
    stop: app.stop,
  };
}

/** Runs one of `apps/`. It ends when its input does, and so also when this process dies. */
async function start(file, variables) {
  const app = spawn("python3", [join(import.meta.dirname, "apps", file)], {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, PYTHONPATH: packages, PYTHONDONTWRITEBYTECODE: "1", ...variables },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const exited = once(app, "exit");
  const [line] = await Promise.race([
    once(createInterface(app.stdout), "line"),
    exited.then(([code]) => assert.fail(`${file} ended with ${code}`)),
  ]);
  const { port, user } = JSON.parse(line);
  return {
    url: `http://127.0.0.1:${port}`,
    user,
    async stop() {
      app.stdin.end();
      await exited;
    },
  };
}

async function post(url, body, headers) {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
  assert.ok(response.ok, `${url} answered ${response.status}`);
  return response.json();
}
