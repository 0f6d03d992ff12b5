import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { contentOf, launchChromium, openProfile, skip } from "./browser.mjs";
import { startLoquat } from "../server.mjs";

describe("the chat page", { skip }, () => {
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

  /** A profile whose user is signed in, with what the tests do there. */
  async function signIn(name) {
    const profile = await openProfile(browser, server.url);
    const { page } = profile;
    await page.goto("/");
    await page.getByLabel("User name").fill(name);
    await page.getByRole("button", { name: "Sign in" }).click();
    const message = page.getByRole("textbox", { name: "Message" });
    await message.waitFor();
    return {
      ...profile,
      replies: page.getByRole("article", { name: "Assistant" }),
      questions: page.getByRole("article", { name: "You" }),
      finished: page.locator('article[data-status="COMPLETED"]'),
      list: page.getByRole("navigation", { name: "Chats" }),
      async send(content) {
        await message.fill(content);
        await page.getByRole("button", { name: "Send" }).click();
      },
    };
  }

  it("shows a reply as it is written, and goes on after a reload with the exact text", async () => {
    const { page, takeReply, replies, finished, send, close } = await signIn("ada");

    await send("What can you do?");
    await page.locator('article[aria-busy="true"] p:not(.muted)').first().waitFor();

    await page.reload();
    await page.locator('article[aria-busy="true"]').waitFor();
    await finished.waitFor();
    const events = await takeReply();
    assert.equal(contentOf(events), events.at(-1).message.content);

    const shown = await replies.innerHTML();
    await page.reload();
    await finished.waitFor();
    assert.equal(await replies.innerHTML(), shown);
    await close();
  });

  it("stops a reply, and shows what there is of it from then on", async () => {
    const { page, replies, questions, finished, send, close } = await signIn("hasty");

    await send("What can you do?");
    await page.locator('article[aria-busy="true"] p:not(.muted)').first().waitFor();
    await page.getByRole("button", { name: "Stop" }).click();
    await page.locator('article[data-status="STOPPED"]').waitFor();
    await page.getByText("You stopped this reply.").waitFor();

    const shown = await replies.innerHTML();
    await page.reload();
    await page.locator('article[data-status="STOPPED"]').waitFor();
    assert.equal(await replies.innerHTML(), shown);

    await send("Go on, then");
    await finished.waitFor();
    assert.deepEqual(await questions.allInnerTexts(), ["What can you do?", "Go on, then"]);
    await close();
  });

  it("edits a message, has its reply written anew, goes back, and rates", async () => {
    const { page, replies, questions, finished, send, close } = await signIn("fickle");
    const bar = (role) => page.locator(`.message-bar[data-role="${role}"]`);

    await send("What can you do?");
    await finished.waitFor();
    await bar("USER").getByRole("button", { name: "Edit" }).click();
    await page.getByLabel("In other words").fill("What else?");
    await page.getByRole("button", { name: "Save" }).click();
    await bar("USER").getByText("2 / 2").waitFor();
    await finished.waitFor();
    assert.deepEqual(await questions.allInnerTexts(), ["What else?"]);

    await bar("ASSISTANT").getByRole("button", { name: "Regenerate" }).click();
    await bar("ASSISTANT").getByText("2 / 2").waitFor();
    await finished.waitFor();
    assert.equal(await replies.count(), 1);

    await bar("USER").getByRole("button", { name: "Version before" }).click();
    await bar("USER").getByText("1 / 2").waitFor();
    assert.deepEqual(await questions.allInnerTexts(), ["What can you do?"]);
    assert.equal(await bar("ASSISTANT").getByText("/ 2").count(), 0);

    await bar("ASSISTANT").getByRole("button", { name: "Good reply" }).click();
    await bar("ASSISTANT").getByRole("button", { name: "Good reply", pressed: true }).waitFor();
    await page.reload();
    await bar("ASSISTANT").getByRole("button", { name: "Good reply", pressed: true }).waitFor();
    await bar("USER").getByRole("button", { name: "Version after" }).click();
    await bar("USER").getByText("2 / 2").waitFor();
    await bar("ASSISTANT").getByText("2 / 2").waitFor();
    assert.deepEqual(await questions.allInnerTexts(), ["What else?"]);
    await close();
  });

  it("shows in a second tab what is done in the first, while it is done", async () => {
    const { page, list, send, close } = await signIn("two-handed");
    await send("What can you do?");
    await page.locator('article[data-status="COMPLETED"]').waitFor();

    const tab = await page.context().newPage();
    await tab.goto(page.url());
    await tab.locator('article[data-status="COMPLETED"]').waitFor();
    await send("And what else?");
    await tab.getByText("And what else?").waitFor();
    await tab.locator('article[aria-busy="true"] p:not(.muted)').first().waitFor();
    const replies = (of) => of.getByRole("article", { name: "Assistant" });
    for (const of of [page, tab]) await of.locator('article[data-status="COMPLETED"]').nth(1).waitFor();
    assert.equal(await replies(tab).nth(1).innerHTML(), await replies(page).nth(1).innerHTML());

    await tab.getByRole("button", { name: "Rename" }).click();
    await tab.getByRole("textbox", { name: "Title" }).fill("Both hands");
    await tab.getByRole("button", { name: "Save" }).click();
    await page.getByRole("heading", { name: "Both hands" }).waitFor();
    await list.getByRole("link", { name: "Both hands" }).waitFor();

    await tab.getByRole("button", { name: "Delete" }).click();
    await tab.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
    await page.getByText("There is no such conversation.").waitFor();
    await list.getByRole("link", { name: "Both hands" }).waitFor({ state: "detached" });
    await close();
  });

  it("renders Markdown", async () => {
    const { finished, send, close } = await signIn("markdown");

    await send("What can you do?");
    await finished.waitFor();
    await finished.locator("table").waitFor();
    await finished.locator("li").first().waitFor();
    await finished.locator("pre code").waitFor();
    await close();
  });

  it("shows a second user nothing of the first", async () => {
    const first = await signIn("first");
    await first.send("A secret of the first user");
    await first.finished.waitFor();
    await first.list.getByRole("link", { name: "A secret of the first user" }).waitFor();

    const second = await signIn("second");
    assert.equal(await second.page.getByText("secret").count(), 0);
    await second.page.goto(first.page.url());
    await second.page.getByText("There is no such conversation.").waitFor();
    assert.equal(await second.page.getByText("secret").count(), 0);

    await second.close();
    await first.close();
  });

  it("forgets a user who signs out", async () => {
    const { page, finished, list, send, close } = await signIn("leaving");
    await send("Mine alone");
    await finished.waitFor();

    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByLabel("User name").fill("coming");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByText("coming", { exact: true }).waitFor();
    assert.equal(await list.getByRole("link", { name: "Mine alone" }).count(), 0);
    await close();
  });

  it("sends a message once, although the answer to it was lost", async () => {
    const { page, questions, finished, send, close } = await signIn("unlucky");
    await send("The first");
    await finished.waitFor();

    const keys = [];
    await page.route("**/graphql", async (route) => {
      const { query, variables } = route.request().postDataJSON() ?? {};
      if (!query?.includes("sendMessage")) return route.fallback();
      keys.push(variables.input.idempotencyKey);
      if (keys.length > 1) return route.fallback();
      await route.fetch();
      await route.abort();
    });
    await send("The second");
    await page.getByRole("alert").getByRole("button", { name: "Try again" }).click();
    await finished.nth(1).waitFor();
    await page.reload();
    await finished.nth(1).waitFor();

    assert.equal(keys.length, 2);
    assert.equal(keys[0], keys[1]);
    assert.deepEqual(await questions.allInnerTexts(), ["The first", "The second"]);
    await close();
  });

  it("renames, pins, archives, resets and deletes", async () => {
    const { page, replies, finished, list, send, close } = await signIn("tidy");
    await send("A chat to keep house with");
    await finished.waitFor();

    await page.getByRole("button", { name: "Rename" }).click();
    await page.getByRole("textbox", { name: "Title" }).fill("Housekeeping");
    await page.getByRole("button", { name: "Save" }).click();
    const entry = list.getByRole("link", { name: "Housekeeping" });
    await entry.waitFor();

    await page.getByRole("button", { name: "Pin", exact: true }).click();
    await list.getByRole("heading", { name: "Pinned" }).waitFor();

    await page.getByRole("button", { name: "Archive", exact: true }).click();
    await entry.waitFor({ state: "detached" });
    await list.getByRole("button", { name: "Archived chats" }).click();
    await entry.waitFor();
    await page.getByRole("button", { name: "Unarchive" }).click();
    await entry.waitFor({ state: "detached" });
    await list.getByRole("button", { name: "Back to the chats" }).click();
    await entry.waitFor();

    await page.getByRole("button", { name: "Reset" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Reset" }).click();
    await replies.waitFor({ state: "detached" });

    await page.getByRole("button", { name: "Delete" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
    await entry.waitFor({ state: "detached" });
    await page.getByRole("heading", { name: "What is on your mind?" }).waitFor();
    await close();
  });
});
