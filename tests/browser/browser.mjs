/** Chromium, watched: whatever a page asks of another host, and every error in it, fails the test. */
import { EventEmitter, once } from "node:events";
import { accessSync, constants } from "node:fs";
import { chromium } from "playwright-core";

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** Why these tests cannot run here, or false. In CI they always run, and fail if they cannot. */
export const skip = process.env.CI === "true" ? false : whyNot();

function whyNot() {
  try {
    accessSync(executablePath, constants.X_OK);
    return false;
  } catch {
    return `there is no Chromium at ${executablePath}: install it, or name it in CHROMIUM`;
  }
}

export function launchChromium() {
  return chromium.launch({
    executablePath,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/**
 * A browser profile of its own. `close` checks what was seen in it.
 *
 * @param {import("playwright-core").Browser} browser
 * @param {string} url of the only server that its pages may speak to
 */
export async function openProfile(browser, url) {
  const context = await browser.newContext({ baseURL: url });
  const { host } = new URL(url);
  const faults = [];
  /** The events of replies that came over sockets and were not taken yet. */
  const events = [];
  const arrivals = new EventEmitter();

  context.on("request", (request) => {
    const address = new URL(request.url());
    if (["http:", "https:"].includes(address.protocol) && address.host !== host) {
      faults.push(`asked another host: ${request.url()}`);
    }
  });
  context.on("page", (page) => {
    page.on("pageerror", (error) => faults.push(`error in the page: ${error.stack}`));
    page.on("console", (message) => {
      if (/content security policy/i.test(message.text())) faults.push(message.text());
    });
    page.on("websocket", (socket) => {
      if (new URL(socket.url()).host !== host) faults.push(`opened a socket to ${socket.url()}`);
      socket.on("framereceived", ({ payload }) => {
        const message = JSON.parse(String(payload));
        if (message.type !== "next") return;
        // What is followed may be deleted meanwhile, which comes as an error.
        const { messageStream, conversationEvents } = message.payload.data ?? {};
        const event = messageStream ?? conversationEvents;
        if (!["MessageChanged", "MessageDelta", "MessageFinished"].includes(event?.__typename)) return;
        events.push(event);
        arrivals.emit("event");
      });
    });
  });

  return {
    page: await context.newPage(),
    /** What came since the last call, up to the end of a reply. */
    async takeReply() {
      while (events.at(-1)?.__typename !== "MessageFinished") await once(arrivals, "event");
      return events.splice(0);
    },
    async close() {
      await context.close();
      if (faults.length > 0) throw new Error(faults.join("\n"));
    },
  };
}

/**
 * The contract's rule. The events of an earlier subscription to the same message may stand before
 * those of the last one, which begins at offset 0.
 */
export function contentOf(events) {
  let content = "";
  for (const event of events) {
    if (event.__typename === "MessageDelta") content = content.slice(0, event.offset) + event.text;
  }
  return content;
}
