/** Chromium, watched: whatever a page asks of another host, and every error in it, fails the test. */
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
  /** Payloads of the GraphQL events that came over sockets, in their order. */
  const events = [];

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
        if (message.type === "next") events.push(message.payload.data?.messageStream);
      });
    });
  });

  return {
    page: await context.newPage(),
    events,
    async close() {
      await context.close();
      if (faults.length > 0) throw new Error(faults.join("\n"));
    },
  };
}

/** The contract's rule, over the events of one subscription. */
export function contentOf(events) {
  let content = "";
  for (const event of events) {
    if (event.__typename === "MessageDelta") content = content.slice(0, event.offset) + event.text;
  }
  return content;
}
