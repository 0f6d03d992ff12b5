import assert from "node:assert/strict";
import { it } from "node:test";
import { createClient } from "graphql-sse";
import { describeClient, waiting } from "./suite.mjs";

describeClient("graphql-sse", open, ({ arrive }) => {
  it("hears what is wrong with a document", async (t) => {
    const { open: openDevice } = await arrive(t);
    const failure = await new Promise((resolve, reject) => {
      const next = reject;
      openDevice().subscribe("subscription { nothing }", {}, { next, error: resolve, complete: reject });
    });
    assert.match(failure.message, /GRAPHQL_VALIDATION_FAILED/);
  });
});

function open(way) {
  const { url, streamUrl, credential } = way;
  const options = { headers: credential, ...waiting(way) };
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
