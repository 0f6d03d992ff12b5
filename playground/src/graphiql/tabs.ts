import type { GraphiQLProps } from "graphiql";

const startChat = `# 1. Start a chat with a first message.
#
# The answer comes at once, while the reply is still being
# written. Its id is now in the variables of the tab
# MessageStream: run that one next.
mutation StartChat($input: StartChatInput!) {
  startChat(input: $input) {
    conversation {
      id
      title
      model
    }
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

const messageStream = `# 2. Watch a reply being written, over a WebSocket.
#
# A delta says where its text goes. With a content that
# starts empty for each subscription:
#
#   content = content.slice(0, offset) + text
#
# Run it again at any time, also when the reply is finished:
# it first brings you up to date.
subscription MessageStream($messageId: ID!) {
  messageStream(messageId: $messageId) {
    __typename
    ... on MessageChanged {
      message {
        id
        status
      }
    }
    ... on MessageDelta {
      offset
      text
    }
    ... on MessageFinished {
      message {
        id
        status
        content
        error {
          code
          message
        }
      }
    }
  }
}
`;

const sendMessage = `# 3. Go on with the conversation.
#
# Sent again with the same idempotencyKey, it stores nothing
# new and answers the same, so a client may always retry.
# Change the key for the next message.
mutation SendMessage($input: SendMessageInput!) {
  sendMessage(input: $input) {
    conversation {
      id
    }
    userMessage {
      id
    }
    reply {
      id
      status
    }
  }
}
`;

const conversations = `# 4. What this user has. Sign in as somebody else in the bar
# above, and none of it is there.
#
# For the next page, set $after to this page's endCursor.
query Conversations($first: Int, $after: String) {
  viewer {
    id
    externalId
    conversations(first: $first, after: $after) {
      nodes {
        id
        title
        lastActiveAt
        activeReply {
          id
        }
        messages(last: 4) {
          nodes {
            id
            role
            status
            content
          }
        }
      }
      pageInfo {
        hasNextPage
        endCursor
      }
    }
  }
}
`;

const variables = (value: object) => JSON.stringify(value, null, 2);

export type TabDefinition = NonNullable<GraphiQLProps["defaultTabs"]>[number];

/** The tour: a chat from its start to the list, one operation a tab. */
export const defaultTabs: TabDefinition[] = [
  { query: startChat, variables: variables({ input: { message: "What can you do?" } }) },
  { query: messageStream, variables: variables({ messageId: "" }) },
  {
    query: sendMessage,
    variables: variables({
      input: { conversationId: "", content: "Tell me more.", idempotencyKey: "my-second-message" },
    }),
  },
  { query: conversations, variables: variables({ first: 10, after: null }) },
];
