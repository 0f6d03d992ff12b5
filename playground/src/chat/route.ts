import { useSyncExternalStore } from "react";

/** What is open is in the address, so that a reload and the back button work. */
export type Route = { view: "list" } | { view: "new" } | { view: "conversation"; id: string };

export function hrefOf(route: Route): string {
  switch (route.view) {
    case "list":
      return "#/";
    case "new":
      return "#/new";
    case "conversation":
      return `#/c/${encodeURIComponent(route.id)}`;
  }
}

export function navigate(route: Route): void {
  location.hash = hrefOf(route);
}

function subscribe(listener: () => void): () => void {
  addEventListener("hashchange", listener);
  return () => removeEventListener("hashchange", listener);
}

export function useRoute(): Route {
  const hash = useSyncExternalStore(subscribe, () => location.hash);
  if (hash === "#/new") return { view: "new" };
  if (hash.startsWith("#/c/")) {
    return { view: "conversation", id: decodeURIComponent(hash.slice("#/c/".length)) };
  }
  return { view: "list" };
}
