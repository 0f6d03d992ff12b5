/** Every rule of the protocol's text, in its order, and what holds it. */

const STRUCTURE = "says each kind of message as it is specified, with the id of its operation";
const INIT = "acknowledges a connection_init with any payload, null, or none";
const PING = "answers a ping with a pong at any time: before the init, after it, while streams are open";
const PONG = "takes pongs that nobody asked for, at any time";
const REUSE = "lets an id be used again once its operation is over, however that came";
const STREAM = "sends all results of a stream, then complete, then nothing";
const SINGLE = "sends one result of a query and of a mutation, then complete, among open streams";
const FAILURE = "ends what it cannot execute with an error, and sends no complete";
const SYNTAX = "ends what it cannot parse with an error, and goes on";
const LEFT = "sends nothing of a stream that its client has completed, and ends its source";
const IGNORED = "ignores a complete of an operation that is over, or that never was";
const INTERLEAVED = "runs several operations at a time, their messages interleaved";
const DIRECTION = "closes a socket that says what is the server's to say";
const TAKEN = [
  ["subscription", "subscription"],
  ["subscription", "query"],
  ["subscription", "mutation"],
  ["mutation", "subscription"],
  ["mutation", "mutation"],
].map(([first, second]) => `closes a socket with 4409 where the id of a running ${first} is given to a ${second}`);
const INVALID = [
  "not JSON",
  "not an object",
  "without a type",
  "with a type that is no string",
  "of another protocol",
  "with a payload that is no object",
  "a subscribe without an id",
  "a subscribe with an id that is no string",
  "a subscribe with an empty id",
  "a subscribe without a payload",
  "a subscribe without a query",
  "a subscribe with variables that are no object",
  "a complete without an id",
].map((what) => `closes a socket with 4400 on a message that is ${what}`);

/** Words of the text, and the tests of them; or why there is nothing to test. */
export const rules = [
  ["through which the operation requests will be communicated", "Says what a word means."],
  ["The WebSocket sub-protocol for this specification is: `graphql-transport-ws`", [
    "speaks graphql-transport-ws, and closes a socket that speaks nothing with 4406",
  ]],
  ["the server and the client must conform to the specified message structure", [STRUCTURE]],
  ["messages contain the `type` field", [STRUCTURE, ...INVALID]],
  ["Messages corresponding to operations must contain the `id` field", [STRUCTURE]],
  ["can be active at any time and their messages can be interleaved", [INTERLEAVED]],
  ["The server can close the socket (kick the client off) at any time", "It may; every close here has its reason."],
  ["The close event dispatched by the server is used to describe the fatal error", [...INVALID, DIRECTION]],
  ["dispatching a `1000: Normal Closure` close event to the server", ["answers a normal closure with one"]],
  ["The server must receive the connection initialisation message within the allowed waiting time", [
    "closes a socket without a connection_init in time with 4408",
  ]],
  ["the server will close the socket with the event: `4408", [
    "closes a socket without a connection_init in time with 4408",
  ]],
  ["the server will close the socket with the event `4429", [
    "closes a socket with two connection_init with 4429, acknowledged or not",
  ]],
  ["it is recommended to close the socket with `4403: Forbidden`", [
    "closes a socket whose connection is rejected with 4403",
  ]],
  ["Expected response to the `ConnectionInit` message", [INIT]],
  ["The server can use the optional `payload` field", "It may; a client takes both."],
  ["The client is now **ready** to request", [INIT, STREAM]],
  ["has received the acknowledgement message and is now ready", [INIT, STREAM]],
  ["A `Pong` must be sent in response from the receiving party as soon as possible", [PING]],
  ["The `Ping` message can be sent at any time within the established socket", [PING]],
  ["can be used to transfer additional details about the ping", [PING]],
  ["Must be sent as soon as the `Ping` message is received", [PING]],
  ["The `Pong` message can be sent at any time within the established socket", [PONG]],
  ["the `Pong` message may even be sent unsolicited", [PONG]],
  ["can be used to transfer additional details about the pong", [PONG]],
  ["This message provides a unique ID field to connect published messages", [STRUCTURE]],
  ["the server **must** close the socket immediately with the event `4409", TAKEN],
  ["The server needs only keep track of IDs for as long as the subscription is active", [REUSE]],
  ["Once a client completes an operation, it is free to re-use that ID", [REUSE]],
  ["extensions?: Record<string, unknown> | null", ["takes each optional member of a subscribe, null, or absent"]],
  ["Executing operations is allowed **only** after the server has acknowledged", [
    "closes a socket that subscribes before it is acknowledged with 4401",
  ]],
  ["After all results have been emitted, the `Complete` message will follow", [STREAM]],
  ["This can occur _before_ execution starts, usually due to validation errors", [FAILURE, SYNTAX]],
  ["This message terminates the operation and no further messages will be sent", [FAILURE, SYNTAX]],
  ["indicates that the requested operation execution has completed", [STREAM, SINGLE]],
  ["no `Complete` message will be emitted", [FAILURE]],
  ["No further events, relevant to the original subscription, should be sent through", [LEFT]],
  ["the result should not be sent through once it does", [
    "sends no result of a query that its client has completed before",
  ]],
  ["means that a client can send a `Complete` message to the server even when", [IGNORED]],
  ["must therefore be prepared to receive (and ignore) messages", [IGNORED]],
  ["will result in an **immediate** socket closure with the event `4400", [...INVALID, DIRECTION]],
  ["The `<error-message>` can be vaguely descriptive", INVALID],
  ["belongs to an operation that has been previously completed does not constitute an error", [IGNORED]],
  ["It is permissable to simply ignore all _unknown_ IDs", [IGNORED]],
  ["_All future communication is linked through this unique ID_", [STRUCTURE]],
  ["If **not** unique, the _server_ will close the socket", TAKEN],
  ["_Server_ _optionally_ checks if the operation is valid before", [FAILURE]],
  ["If **not** valid, the _server_ sends an `Error` message", [FAILURE]],
  ["_Client_ ignores all further messages that it receives", "The client's to do."],
  ["_Server_ receives `Complete` message and completes the source stream", [LEFT]],
  ["_Server_ ignores the `Complete` message from the client", [IGNORED]],
  ["_at most one_ `Next` message is sent", [SINGLE]],
  ["shares the same name-space for IDs as streaming operations", [...TAKEN, SINGLE]],
  ["can be multiplexed with other operations", [SINGLE]],
  ["_Server_ dispatches the result with the `Next` message", [SINGLE]],
  ["The _client_ may dispatch a `Complete` message at any time", [
    LEFT,
    IGNORED,
    "sends no result of a query that its client has completed before",
  ]],
];

/** Where the reference server closes the socket otherwise than Loquat, and why Loquat does not follow it. */
export const control = new Map([
  // The text has an error message for what ends one operation. Another's streams go on.
  [SYNTAX, 4500],
  // The text says 4400. The reference server takes it for a fault of its own.
  [DIRECTION, 4500],
]);
