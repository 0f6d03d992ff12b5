/** A way to the server that its test can cut. */
import { once } from "node:events";
import { connect, createServer } from "node:net";

/** @param {string} url of the server */
export async function startProxy(url) {
  const { hostname, port } = new URL(url);
  const open = new Set();
  let connections = 0;
  const server = createServer((client) => {
    connections += 1;
    const upstream = connect(Number(port), hostname);
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ]) {
      open.add(socket);
      socket.pipe(other);
      socket.on("error", () => other.destroy());
      socket.on("close", () => open.delete(socket));
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");

  const proxy = {
    url: `http://127.0.0.1:${server.address().port}`,
    /** How many connections came this way. */
    get connections() {
      return connections;
    },
    /** Without a word of farewell to either side. New connections are let through. */
    cut() {
      for (const socket of open) socket.destroy();
    },
    async stop() {
      server.close();
      proxy.cut();
      await once(server, "close");
    },
  };
  return proxy;
}
