import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { contentOf, launchChromium, openProfile, skip } from "./browser.mjs";
import { startLoquat } from "../server.mjs";

describe("GraphiQL", { skip }, () => {
  let server;
  let browser;

  before(async () => {
    server = await startLoquat();
    browser = await launchChromium();
  });

  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  async function open() {
    const profile = await openProfile(browser, server.url);
    const { page } = profile;
    await page.goto("/graphiql");
    await page.getByRole("region", { name: "Operation Editor" }).getByText("mutation").waitFor();
    const response = page.getByRole("region", { name: "Result Window" });
    return {
      ...profile,
      response,
      async run(tab) {
        await page.getByRole("tab", { name: tab }).click();
        await page.getByRole("button", { name: /^Execute query/ }).click();
      },
    };
  }

  it("runs its tour: starts a chat, streams the reply, sends another message, lists it all", async () => {
    const { response, run, takeReply, close } = await open();

    await run("StartChat");
    await response.getByText('"startChat"').waitFor();

    await run("MessageStream");
    await response.getByText('"MessageDelta"').waitFor();
    assertStreamed(await takeReply());
    await response.getByText('"MessageFinished"').waitFor();

    await run("SendMessage");
    await response.getByText('"sendMessage"').waitFor();
    await run("MessageStream");
    assertStreamed(await takeReply());

    await run("Conversations");
    await response.getByText('"conversations"').waitFor();
    await response.getByText('"COMPLETED"').first().waitFor();
    await close();
  });

  it("signs in as the name in its bar", async () => {
    const { page, response, run, close } = await open();

    await page.getByLabel("User name").fill("grace");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByText("Signed in as grace").waitFor();

    await run("Conversations");
    await response.getByText('"grace"').waitFor();
    assert.equal(await response.getByText('"COMPLETED"').count(), 0);
    await close();
  });

  it("knows the schema", async () => {
    const { page, close } = await open();

    await page.getByRole("button", { name: "Show Documentation Explorer" }).click();
    await page.getByRole("link", { name: "Subscription" }).click();
    await page.getByRole("link", { name: "messageStream", exact: true }).waitFor();
    await close();
  });
});

function assertStreamed(events) {
  const finished = events.at(-1);
  assert.equal(events[0].__typename, "MessageChanged");
  assert.equal(finished.__typename, "MessageFinished");
  assert.equal(finished.message.status, "COMPLETED");
  assert.notEqual(finished.message.content, "");
  assert.equal(contentOf(events), finished.message.content);
}
