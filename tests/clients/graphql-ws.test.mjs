import assert from "node:assert/strict";
import { it } from "node:test";
import { MESSAGE_STREAM } from "./documents.mjs";
import { Feed } from "./feed.mjs";
import { openSocketClient } from "./socket.mjs";
import { assertWhole, describeClient, follow, startChat } from "./suite.mjs";

describeClient("graphql-ws", open, ({ arrive, prepare, stored }) => {
  it("has the exact text when it takes one event at a time while 2,000 tokens arrive", async (t) => {
    const { user, open: openDevice } = await arrive(t);
    const quick = openDevice();
    const { question, answer } = prepare();
    const { conversation, reply } = await startChat(quick, question);
    const quickFeed = follow(quick, reply);

    let socket;
    const on = { opened: (opened) => (socket = opened) };
    const slow = openDevice(undefined, (way) => open(way, { on }));
    const slowFeed = new Feed();
    const events = slow.iterate({ query: MESSAGE_STREAM, variables: { messageId: reply.id } });
    const take = async () => {
      const { value, done } = await events.next();
      if (done) slowFeed.complete();
      else slowFeed.next(value.data.messageStream);
      return !done;
    };

    for (let tokens = 0; tokens < 2_000; tokens += 50) {
      await take();
      // Nothing is read any more until the next 50 have come.
      socket.pause();
      answer.write(...Array.from({ length: 50 }, (_, index) => `${tokens + index} 🦜${"ü".repeat(100)} `));
      await quickFeed.untilContent(answer.text);
      socket.resume();
    }
    answer.end();
    while (await take());

    assertWhole(quickFeed, await quickFeed.finished(), reply, answer);
    assertWhole(slowFeed, await slowFeed.finished(), reply, answer);
    assert.equal((await stored(user, conversation)).at(-1).content, slowFeed.content);
  });
});

function open(way, options) {
  const client = openSocketClient(way, options);
  const execute = async (query, variables) => {
    const { value } = await client.iterate({ query, variables }).next();
    if (value.errors) throw new Error(JSON.stringify(value.errors));
    return value.data;
  };
  return {
    query: execute,
    mutate: execute,
    subscribe(query, variables, { next, error, complete }) {
      const take = ({ data, errors }) => (errors ? error(errors) : next(data));
      return client.subscribe({ query, variables }, { next: take, error, complete });
    },
    iterate: client.iterate,
    close: () => client.dispose(),
  };
}
