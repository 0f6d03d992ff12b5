/** Tokens as a Supabase project mints them: by its ES256 signing key, or by its legacy secret. */
import { randomBytes, randomUUID } from "node:crypto";
import { SignJWT, exportJWK, generateKeyPair } from "jose";
import { listen } from "./listen.mjs";

/** A project that has moved to signing keys. Its new API keys are opaque. */
export async function startSupabase() {
  const kid = randomUUID();
  const { privateKey, publicKey } = await generateKeyPair("ES256");
  const key = { ...(await exportJWK(publicKey)), kid, alg: "ES256", use: "sig", key_ops: ["verify"], ext: true };
  const project = await startProject([key]);
  const user = randomUUID();
  const sign = (claims) =>
    new SignJWT(claims).setProtectedHeader({ alg: "ES256", kid, typ: "JWT" }).sign(privateKey);
  return {
    name: "supabase",
    settings: { SUPABASE_PROJECT_URL: project.url },
    table: { preset: "supabase", url: project.url },
    user,
    accepted: { "access token": await sign(accessClaims(project.url, user)) },
    refused: {
      "publishable key": `sb_publishable_${randomBytes(16).toString("base64url")}_${randomBytes(4).toString("hex")}`,
      "secret key": `sb_secret_${randomBytes(16).toString("base64url")}_${randomBytes(4).toString("hex")}`,
      "refresh token": randomBytes(9).toString("base64url"),
    },
    stop: project.stop,
  };
}

/** A project that still signs with its secret, as its anon and service_role keys are signed. */
export async function startLegacySupabase() {
  const secret = randomBytes(64).toString("base64");
  const project = await startProject([]);
  const user = randomUUID();
  const sign = (claims) =>
    new SignJWT(claims)
      .setProtectedHeader({ alg: "HS256", typ: "JWT" })
      .sign(new TextEncoder().encode(secret));
  const apiKey = (role) =>
    sign({ iss: "supabase", ref: "abcdefghijklmnopqrst", role, ...lifetime(10 * 365 * 24 * 3600) });
  return {
    name: "supabase-legacy",
    settings: { SUPABASE_PROJECT_URL: project.url, SUPABASE_JWT_SECRET: secret },
    table: { preset: "supabase", url: project.url, secret },
    user,
    accepted: { "access token": await sign(accessClaims(project.url, user)) },
    refused: {
      "anon key": await apiKey("anon"),
      "service_role key": await apiKey("service_role"),
      "refresh token": randomBytes(9).toString("base64url"),
    },
    stop: project.stop,
  };
}

async function startProject(keys) {
  return listen(({ url }, response) => {
    if (url !== "/auth/v1/.well-known/jwks.json") return response.writeHead(404).end();
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ keys }));
  });
}

function accessClaims(project, user) {
  return {
    iss: `${project}/auth/v1`,
    sub: user,
    aud: "authenticated",
    ...lifetime(3600),
    email: "ann@example.org",
    phone: "",
    app_metadata: { provider: "email", providers: ["email"] },
    user_metadata: { email: "ann@example.org", email_verified: true, sub: user },
    role: "authenticated",
    aal: "aal1",
    amr: [{ method: "password", timestamp: Math.floor(Date.now() / 1000) }],
    session_id: randomUUID(),
    is_anonymous: false,
  };
}

function lifetime(seconds) {
  const iat = Math.floor(Date.now() / 1000);
  return { iat, exp: iat + seconds };
}
