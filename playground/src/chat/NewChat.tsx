import { useMutation } from "urql";
import { Composer, type Draft } from "./Composer";
import { startChatMutation } from "./operations";
import { hrefOf, navigate } from "./route";

export function NewChat() {
  const [, startChat] = useMutation(startChatMutation);

  async function start({ content, model }: Draft, idempotencyKey: string) {
    const { data, error } = await startChat({
      input: { title: titleOf(content), message: content, model, idempotencyKey },
    });
    if (data?.startChat) navigate({ view: "conversation", id: data.startChat.conversation.id });
    return error;
  }

  return (
    <section className="new-chat" aria-labelledby="new-chat">
      <a href={hrefOf({ view: "list" })} className="button back">
        Chats
      </a>
      <h1 id="new-chat">What is on your mind?</h1>
      <Composer placeholder="Message the assistant" isBusy={false} onSend={start} />
    </section>
  );
}

/** The first line, cut between characters. */
function titleOf(content: string): string {
  const characters = [...(content.trim().split("\n")[0] ?? "")];
  return characters.length > 60 ? `${characters.slice(0, 59).join("")}…` : characters.join("");
}
