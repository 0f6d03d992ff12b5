/** A client of `graphql-transport-ws` that says exactly what its test says, and forgets nothing it hears. */
import { EventEmitter, once } from "node:events";
import WebSocket from "ws";

/** What a server may say, by the types of the specification: the members of each, and whether they hold. */
const spoken = {
  connection_ack: { payload: optional(isRecord) },
  ping: { payload: optional(isRecord) },
  pong: { payload: optional(isRecord) },
  next: { id: isId, payload: isResult },
  error: { id: isId, payload: isErrors },
  complete: { id: isId },
};

/** Opens a socket that ends with its test, which fails where the server has said what is not specified. */
export async function open(t, { url, headers, protocols = ["graphql-transport-ws"] }) {
  const socket = new Socket(new WebSocket(url, protocols, { headers }));
  t.after(() => {
    socket.terminate();
    if (socket.unspecified.length > 0) throw new Error(`not as specified: ${socket.unspecified.join()}`);
  });
  await socket.opened;
  return socket;
}

/** A socket whose connection is acknowledged, of a user. */
export async function connect(t, server, user) {
  const socket = await open(t, server);
  socket.say({ type: "connection_init", payload: { "X-User-Id": user } });
  await socket.hear("connection_ack");
  return socket;
}

class Socket {
  /** Everything that was heard, in its order. */
  heard = [];
  unspecified = [];
  #socket;
  #news = new EventEmitter().setMaxListeners(0);
  #close;
  #operations = 0;

  constructor(socket) {
    this.#socket = socket;
    this.opened = once(socket, "open");
    this.opened.catch(() => {});
    socket.on("message", (data, isBinary) => {
      const text = String(data);
      if (isBinary || !isSpecified(text)) this.unspecified.push(text);
      this.heard.push(JSON.parse(text));
      this.#news.emit("news");
    });
    socket.on("close", (code, reason) => {
      this.#close = { code, reason: String(reason) };
      this.#news.emit("news");
    });
    socket.on("error", () => {});
  }

  get protocol() {
    return this.#socket.protocol;
  }

  /** All of them in one segment, so that none is answered before the last has come. */
  say(...messages) {
    this.#socket._socket.cork();
    for (const message of messages) {
      this.#socket.send(typeof message === "string" ? message : JSON.stringify(message));
    }
    this.#socket._socket.uncork();
  }

  /** An operation, and the id that it has. */
  subscribe(query, { id = `operation-${(this.#operations += 1)}`, ...payload } = {}) {
    this.say({ type: "subscribe", id, payload: { query, ...payload } });
    return id;
  }

  complete(id) {
    this.say({ type: "complete", id });
  }

  of(id) {
    return this.heard.filter((message) => message.id === id);
  }

  types(id) {
    return this.of(id).map(({ type }) => type);
  }

  /** The first message of a type, or the one of so many of an operation. */
  async hear(type, id, count = 1) {
    let found;
    await this.#until(() => {
      found = this.heard.filter((message) => message.type === type && (!id || message.id === id));
      return found.length >= count;
    }, `${count} ${type} ${id ?? ""}`);
    return found[count - 1];
  }

  /** The data of an operation with one result, once it is over. */
  async ask(query, payload) {
    const id = this.subscribe(query, payload);
    const { data } = (await this.hear("next", id)).payload;
    await this.hear("complete", id);
    return data;
  }

  /** Until the server has read all that was said so far: it takes one message after the other. */
  async settled() {
    const pongs = this.heard.filter(({ type }) => type === "pong").length;
    this.say({ type: "ping" });
    await this.hear("pong", undefined, pongs + 1);
  }

  async closed() {
    while (!this.#close) await once(this.#news, "news");
    return this.#close;
  }

  close(code) {
    this.#socket.close(code);
  }

  terminate() {
    this.#socket.terminate();
  }

  async #until(reached, what) {
    while (!reached()) {
      if (this.#close) {
        const [close, heard] = [this.#close, this.heard].map((value) => JSON.stringify(value));
        throw new Error(`closed with ${close} before ${what}, after ${heard}`);
      }
      await once(this.#news, "news");
    }
  }
}

function isSpecified(text) {
  const { type, ...rest } = JSON.parse(text);
  const members = spoken[type];
  return (
    members !== undefined &&
    Object.keys(rest).every((name) => name in members) &&
    Object.entries(members).every(([name, holds]) => holds(rest[name]))
  );
}

function optional(holds) {
  return (value) => value === undefined || value === null || holds(value);
}

function isRecord(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isId(value) {
  return typeof value === "string" && value !== "";
}

function isErrors(value) {
  return Array.isArray(value) && value.length > 0 && value.every(({ message }) => typeof message === "string");
}

/** The response of the GraphQL specification, 7.1: data, or errors, or both. */
function isResult(value) {
  return (
    isRecord(value) &&
    ("data" in value || "errors" in value) &&
    (!("errors" in value) || isErrors(value.errors)) &&
    Object.keys(value).every((name) => ["data", "errors", "extensions"].includes(name))
  );
}
