import { useSyncExternalStore } from "react";
import { signIn } from "./config";

// The name outlives the browser; a token, being a secret, only lives as long as its tab.
const store = signIn === "development" ? localStorage : sessionStorage;
const key = signIn === "development" ? "loquat.user" : "loquat.token";
const listeners = new Set<() => void>();

/** The user name in development, else the token. */
export function getCredential(): string | null {
  return store.getItem(key);
}

export function setCredential(credential: string | null): void {
  if (credential) store.setItem(key, credential);
  else store.removeItem(key);
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function useCredential(): string | null {
  return useSyncExternalStore(subscribe, getCredential);
}

/**
 * What signs a request in. Over HTTP these are headers; a WebSocket cannot carry headers from a
 * browser, so there the same names go into the payload of `connection_init`.
 */
export function credentialHeaders(credential: string | null): Record<string, string> {
  if (!credential) return {};
  return signIn === "development"
    ? { "X-User-Id": credential }
    : { Authorization: `Bearer ${credential}` };
}
