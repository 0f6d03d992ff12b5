import assert from "node:assert/strict";
import { it } from "node:test";
import { createClient } from "graphql-sse";
import { assertWhole, describeClient, follow, startChat } from "./suite.mjs";

describeClient("graphql-sse", open, ({ arrive, prepare, token }) => {
  it("goes on with a fresh token when one ends in mid-reply", async (t) => {
    const { user, proxy, open: openDevice } = await arrive(t);
    const { question, answer } = prepare();
    const { reply } = await startChat(openDevice(), question);

    const lifetimes = ["2s", "1h"];
    const credential = async () => ({ Authorization: await token(user, lifetimes.shift()) });
    const feed = follow(openDevice(credential), reply);
    answer.write("Before, ");
    await feed.untilContent(answer.text);
    const { connections } = proxy;
    await proxy.connected(connections + 1);
    answer.write("and after.");
    await feed.untilContent(answer.text);
    assert.deepEqual(lifetimes, []);

    answer.end();
    assertWhole(feed, await feed.finished(), reply, answer);
  });

  it("hears what is wrong with a document", async (t) => {
    const { open: openDevice } = await arrive(t);
    const failure = await new Promise((resolve, reject) => {
      const next = reject;
      openDevice().subscribe("subscription { nothing }", {}, { next, error: resolve, complete: reject });
    });
    assert.match(failure.message, /GRAPHQL_VALIDATION_FAILED/);
  });
});

function open({ url, streamUrl, credential }) {
  const options = { headers: credential };
  const client = createClient({ url, ...options });
  const streams = createClient({ url: streamUrl, ...options });
  const execute = async (query, variables) => {
    for await (const result of client.iterate({ query, variables })) return dataOf(result);
  };
  return {
    query: execute,
    mutate: execute,
    subscribe: (query, variables, { next, error, complete }) =>
      streams.subscribe(
        { query, variables },
        {
          next(result) {
            if (result.errors) error(new Error(JSON.stringify(result.errors)));
            else next(result.data);
          },
          error,
          complete,
        },
      ),
    close() {
      client.dispose();
      streams.dispose();
    },
  };
}

function dataOf({ data, errors }) {
  if (errors) throw new Error(JSON.stringify(errors));
  return data;
}
