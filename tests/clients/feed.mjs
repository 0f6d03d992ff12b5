/** Everything that a front end keeps of a `messageStream`. It knows nothing of connections. */
import { EventEmitter, once } from "node:events";

/** A sink for the events, and its test's view of them. */
export class Feed {
  events = [];
  /** The text, by the contract's rule alone. */
  content = "";
  #ended = false;
  #failure;
  #changes = new EventEmitter();

  next(event) {
    this.events.push(event);
    if (event.__typename === "MessageDelta") {
      this.content = this.content.slice(0, event.offset) + event.text;
    }
    this.#changes.emit("change");
  }

  error(failure) {
    this.#failure = failure instanceof Error ? failure : new Error(JSON.stringify(failure));
    this.#changes.emit("change");
  }

  complete() {
    this.#ended = true;
    this.#changes.emit("change");
  }

  /** Until the text is this one, or goes on from it. */
  async untilContent(text) {
    await this.#until(() => this.content.startsWith(text));
  }

  /** Until there was such an event. */
  async until(such) {
    await this.#until(() => this.events.some(such));
  }

  /** Until the subscription has ended. Resolves to the message as the last event has it. */
  async finished() {
    await this.#until(() => this.#ended);
    const last = this.events.at(-1);
    if (last.__typename !== "MessageFinished") throw new Error(`ended with ${last.__typename}`);
    return last.message;
  }

  async #until(reached) {
    while (!reached()) {
      if (this.#failure) throw this.#failure;
      if (this.#ended) throw new Error(`ended early, after ${JSON.stringify(this.events)}`);
      await once(this.#changes, "change");
    }
  }
}
