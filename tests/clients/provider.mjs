/** A fake OpenAI-compatible server. Each token leaves when its test says so. */
import { once } from "node:events";
import { createServer } from "node:http";

export async function startProvider() {
  /** By the user's last message: what is to answer it. */
  const answers = new Map();
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request.setEncoding("utf8")) body += chunk;
    const { content } = JSON.parse(body).messages.findLast(({ role }) => role === "user");
    // A question that was never answered comes in one turn with the next.
    const answer = answers.get(content.split("\n\n").at(-1));
    if (!answer || !request.url.endsWith("/v1/chat/completions")) {
      response.writeHead(404).end();
      return;
    }
    answer.begin(response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");

  return {
    /** What makes a `loquat` ask here. */
    settings: {
      OPENAI_BASE_URL: `http://127.0.0.1:${server.address().port}/v1`,
      OPENAI_CHAT_MODEL: "fake",
    },
    /** What whoever asks this question is told. */
    answer(question) {
      const answer = new Answer();
      answers.set(question, answer);
      return answer;
    },
    async stop() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

/** One reply of the model. What is written before anybody has asked is said once somebody does. */
class Answer {
  /** All of it so far. */
  text = "";
  #unsaid = [];
  #response;

  begin(response) {
    this.#response = response;
    response.writeHead(200, { "content-type": "text/event-stream" });
    this.#flush();
  }

  write(...tokens) {
    for (const content of tokens) {
      this.text += content;
      this.#say({ delta: { content }, finish_reason: null });
    }
  }

  end() {
    this.#say({ delta: {}, finish_reason: "stop" });
    this.#unsaid.push("[DONE]");
    this.#flush();
  }

  #say(choice) {
    const chunk = { id: "1", object: "chat.completion.chunk", created: 0, model: "fake" };
    this.#unsaid.push(JSON.stringify({ ...chunk, choices: [{ index: 0, ...choice }] }));
    this.#flush();
  }

  #flush() {
    if (!this.#response) return;
    for (const data of this.#unsaid.splice(0)) {
      this.#response.write(`data: ${data}\n\n`);
      if (data === "[DONE]") this.#response.end();
    }
  }
}
