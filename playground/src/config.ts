/** How this server signs users in; it says so in the page that it serves. */
export type SignIn =
  /** No issuer is configured, and the server listens on loopback: any name is a user. */
  | "development"
  /** Users come with the JWT of a configured issuer. */
  | "token";

function readSignIn(): SignIn {
  const element = document.getElementById("loquat-config");
  // Only Vite's development server serves the page without it.
  if (!element?.textContent) return "development";
  return (JSON.parse(element.textContent) as { signIn: SignIn }).signIn;
}

export const signIn = readSignIn();

export const graphqlUrl = new URL("/graphql", location.href).href;
export const graphqlSocketUrl = graphqlUrl.replace(/^http/, "ws");
