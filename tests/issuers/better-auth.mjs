/** A Better Auth server with its JWT plugin, its users in memory. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { betterAuth } from "better-auth";
import { memoryAdapter } from "better-auth/adapters/memory";
import { createAuthClient } from "better-auth/client";
import { jwtClient } from "better-auth/client/plugins";
import { toNodeHandler } from "better-auth/node";
import { jwt } from "better-auth/plugins";
import { listen } from "./listen.mjs";

export async function startBetterAuth() {
  const server = await listen((request, response) => handler(request, response));
  const auth = betterAuth({
    baseURL: server.url,
    secret: randomBytes(32).toString("hex"),
    database: memoryAdapter({ user: [], session: [], account: [], verification: [], jwks: [] }),
    emailAndPassword: { enabled: true },
    plugins: [jwt()],
    telemetry: { enabled: false },
  });
  const handler = toNodeHandler(auth);

  const signUp = await fetch(`${server.url}/api/auth/sign-up/email`, {
    method: "POST",
    headers: { "content-type": "application/json", origin: server.url },
    body: JSON.stringify({ name: "Ann", email: "ann@example.org", password: "a password of Ann's" }),
  });
  assert.equal(signUp.status, 200);
  const { token: session, user } = await signUp.json();
  const [cookie] = signUp.headers.getSetCookie().map((cookie) => cookie.split(";")[0]);
  // As a page does, whose browser would send the cookie.
  const fetchOptions = { headers: { cookie } };
  const authClient = createAuthClient({ baseURL: server.url, plugins: [jwtClient()], fetchOptions });
  const getToken = async () => (await authClient.token()).data?.token;
  const token = await getToken();

  return {
    name: "better-auth",
    settings: { BETTER_AUTH_URL: server.url },
    table: { preset: "better-auth", url: server.url },
    user: user.id,
    accepted: { "token of /api/auth/token": token },
    refused: {
      "session token": session,
      "session cookie": decodeURIComponent(cookie.slice(cookie.indexOf("=") + 1)),
    },
    stop: server.stop,
  };
}
