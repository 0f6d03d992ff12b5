import { type FormEvent, useId } from "react";
import { signIn } from "./config";
import { getCredential, setCredential } from "./credential";

const labels =
  signIn === "development"
    ? { field: "User name", placeholder: "ada", submit: "Sign in" }
    : { field: "Token", placeholder: "a JWT of your issuer", submit: "Use token" };

/** Asks for a user name in development, else for a token. */
export function SignInForm({ autoFocus = false }: { autoFocus?: boolean }) {
  const id = useId();

  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const credential = new FormData(event.currentTarget).get("credential");
    setCredential(String(credential).trim() || null);
  }

  return (
    <form className="sign-in-form" onSubmit={submit}>
      <label htmlFor={id}>{labels.field}</label>
      <input
        id={id}
        name="credential"
        type={signIn === "development" ? "text" : "password"}
        placeholder={labels.placeholder}
        defaultValue={getCredential() ?? ""}
        autoFocus={autoFocus}
        autoComplete={signIn === "development" ? "username" : "off"}
        spellCheck={false}
      />
      <button type="submit">{labels.submit}</button>
    </form>
  );
}
