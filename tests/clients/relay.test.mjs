import relay from "relay-runtime";
import { CONVERSATION_EVENTS } from "./documents.mjs";
import { testHistory } from "./history.mjs";
import { LIVE, Texts, testFollowing, VIEWER_EVENTS } from "./live.mjs";
import { artifactOf, openRelay } from "./relay/device.mjs";
import { openWindow } from "./relay/window.mjs";
import { describeClient } from "./suite.mjs";

const { createOperationDescriptor } = relay;

describeClient("Relay over WebSockets", openRelay, (tools) => {
  testHistory(tools, openWindow);
  testFollowing(tools, (way) => openFollower(openRelay(way)));
});

/** A device that keeps its store up to date by what it is told. */
function openFollower(device) {
  const texts = new Texts();
  const append = (page, record) => page.setLinkedRecords([...page.getLinkedRecords("nodes"), record], "nodes");

  const updateConversation = (id) => (store, { conversationEvents: event }) => {
    const payload = store.getRootField("conversationEvents");
    if (event.__typename === "MessageAdded") {
      const page = store.get(id).getLinkedRecord("messages", { last: 20 });
      append(page, payload.getLinkedRecord("messageEdge").getLinkedRecord("node"));
    } else if (event.__typename === "MessageDelta") {
      store.get(event.messageId)?.setValue(texts.write(event), "content");
    }
  };

  const updateList = (store, { viewerEvents: event }) => {
    const payload = store.getRootField("viewerEvents");
    const page = store.getRoot().getLinkedRecord("viewer").getLinkedRecord("conversations", { first: 20 });
    if (event.__typename === "ConversationAdded") {
      append(page, payload.getLinkedRecord("conversationEdge").getLinkedRecord("node"));
    } else if (event.__typename === "ConversationDeleted") {
      const nodes = page.getLinkedRecords("nodes");
      page.setLinkedRecords(nodes.filter((node) => node.getDataID() !== event.deletedConversationId), "nodes");
    }
  };

  return {
    ...device,
    follow(id, fail) {
      // As a component that is on the screen does.
      device.environment.retain(createOperationDescriptor(artifactOf(LIVE), { id }));
      const sink = { next() {}, error: fail, complete: fail };
      device.subscribe(CONVERSATION_EVENTS, { id }, sink, updateConversation(id));
      device.subscribe(VIEWER_EVENTS, {}, sink, updateList);
    },
  };
}
