/** What the tests ask, as a front end would. */

export const START_CHAT = /* GraphQL */ `
  mutation StartChat($message: String!) {
    startChat(input: { message: $message }) {
      conversation {
        id
      }
      reply {
        id
        status
      }
    }
  }
`;

/** A conversation in which nothing was said yet. */
export const START_EMPTY = /* GraphQL */ `
  mutation StartEmpty {
    startChat(input: {}) {
      conversation {
        id
      }
    }
  }
`;

export const SEND_MESSAGE = /* GraphQL */ `
  mutation SendMessage($conversationId: ID!, $content: String!, $whenBusy: BusyPolicy = REJECT) {
    sendMessage(
      input: { conversationId: $conversationId, content: $content, whenBusy: $whenBusy }
    ) {
      userMessage {
        id
        content
      }
      reply {
        id
        status
      }
    }
  }
`;

export const STOP_REPLY = /* GraphQL */ `
  mutation StopReply($messageId: ID!) {
    stopReply(input: { messageId: $messageId }) {
      reply {
        id
        status
        content
      }
    }
  }
`;

/** What each of the mutations that move the active path answers: the path as it is now. */
const PATH = /* GraphQL */ `
  conversation {
    id
    messages {
      nodes {
        id
        content
        versionNumber
        versions {
          id
        }
      }
    }
  }
`;

export const EDIT_MESSAGE = /* GraphQL */ `
  mutation EditMessage($messageId: ID!, $content: String!) {
    editMessage(input: { messageId: $messageId, content: $content }) {
      ${PATH}
      reply {
        id
        status
      }
    }
  }
`;

export const REGENERATE_REPLY = /* GraphQL */ `
  mutation RegenerateReply($messageId: ID!) {
    regenerateReply(input: { messageId: $messageId }) {
      ${PATH}
      reply {
        id
        status
      }
    }
  }
`;

export const SELECT_VERSION = /* GraphQL */ `
  mutation SelectVersion($messageId: ID!) {
    selectVersion(input: { messageId: $messageId }) {
      ${PATH}
    }
  }
`;

export const CONVERSATION = /* GraphQL */ `
  query Conversation($id: ID!) {
    viewer {
      id
      externalId
      conversation(id: $id) {
        id
        messages {
          nodes {
            id
            role
            status
            content
          }
        }
      }
    }
  }
`;

export const MESSAGE_STREAM = /* GraphQL */ `
  subscription MessageStream($messageId: ID!) {
    messageStream(messageId: $messageId) {
      __typename
      ... on MessageChanged {
        message {
          id
          status
          content
        }
      }
      ... on MessageDelta {
        messageId
        offset
        text
      }
      ... on MessageFinished {
        message {
          id
          status
          content
        }
      }
    }
  }
`;

export const CONVERSATION_EVENTS = /* GraphQL */ `
  subscription ConversationEvents($id: ID!) {
    conversationEvents(conversationId: $id) {
      __typename
      ... on ConversationSnapshot {
        conversation {
          id
          title
          pinned
          activeReply {
            id
          }
          lastMessage {
            id
          }
          messages(last: 20) {
            nodes {
              id
              role
              status
              content
            }
          }
        }
      }
      ... on MessageAdded {
        messageEdge {
          node {
            id
            role
            status
            content
          }
        }
      }
      ... on MessageChanged {
        message {
          id
          status
        }
      }
      ... on MessageDelta {
        messageId
        offset
        text
      }
      ... on MessageFinished {
        message {
          id
          status
          content
        }
      }
      ... on ConversationChanged {
        conversation {
          id
          title
          pinned
          activeReply {
            id
          }
          lastMessage {
            id
          }
        }
      }
    }
  }
`;
