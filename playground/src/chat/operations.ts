/**
 * Every operation of this page, with its types. An app with a build step would rather generate the
 * types from `schema.graphql`; by hand they are short enough to read.
 */
import { gql } from "urql";

export type MessageStatus = "PENDING" | "STREAMING" | "COMPLETED" | "STOPPED" | "FAILED";

export type Rating = "UP" | "DOWN";

export type Message = {
  id: string;
  parent: { id: string } | null;
  versionNumber: number;
  versionCount: number;
  versions: { id: string; versionNumber: number }[];
  feedback: { rating: Rating } | null;
  role: "USER" | "ASSISTANT";
  content: string;
  status: MessageStatus;
  truncated: boolean;
  model: string | null;
  error: { code: string; message: string } | null;
};

export type MessagePage = {
  nodes: Message[];
  pageInfo: { hasPreviousPage: boolean; startCursor: string | null };
};

export type Conversation = {
  id: string;
  title: string | null;
  model: string;
  archived: boolean;
  pinned: boolean;
};

export type ConversationWithMessages = Conversation & {
  activeReply: { id: string } | null;
  messages: MessagePage;
};

const messageFields = gql`
  fragment MessageFields on Message {
    id
    parent {
      id
    }
    versionNumber
    versionCount
    versions {
      id
      versionNumber
    }
    feedback {
      rating
    }
    role
    content
    status
    truncated
    model
    error {
      code
      message
    }
  }
`;

export const viewerQuery = gql<{
  viewer: { id: string; externalId: string; displayName: string | null };
}>`
  query Viewer {
    viewer {
      id
      externalId
      displayName
    }
  }
`;

export const modelsQuery = gql<{ models: { name: string; isDefault: boolean }[] }>`
  query Models {
    models {
      name
      isDefault
    }
  }
`;

export const conversationsQuery = gql<
  {
    viewer: {
      id: string;
      conversations: {
        nodes: Conversation[];
        pageInfo: { hasNextPage: boolean; endCursor: string | null };
      };
    };
  },
  { filter: { archived: boolean; pinned?: boolean }; after: string | null }
>`
  query Conversations($filter: ConversationFilter, $after: String) {
    viewer {
      id
      conversations(first: 30, after: $after, filter: $filter) {
        nodes {
          id
          title
          model
          archived
          pinned
        }
        pageInfo {
          hasNextPage
          endCursor
        }
      }
    }
  }
`;

export const earlierMessagesQuery = gql<
  { viewer: { id: string; conversation: { id: string; messages: MessagePage } | null } },
  { id: string; before: string }
>`
  query EarlierMessages($id: ID!, $before: String!) {
    viewer {
      id
      conversation(id: $id) {
        id
        messages(last: 30, before: $before) {
          nodes {
            ...MessageFields
          }
          pageInfo {
            hasPreviousPage
            startCursor
          }
        }
      }
    }
  }
  ${messageFields}
`;

export const startChatMutation = gql<
  { startChat: { conversation: { id: string } } | null },
  { input: { title: string; message: string; model?: string; idempotencyKey: string } }
>`
  mutation StartChat($input: StartChatInput!) {
    startChat(input: $input) {
      conversation {
        id
      }
    }
  }
`;

export const sendMessageMutation = gql<
  { sendMessage: { conversation: { id: string }; reply: { id: string } } | null },
  { input: { conversationId: string; content: string; model?: string; idempotencyKey: string } }
>`
  mutation SendMessage($input: SendMessageInput!) {
    sendMessage(input: $input) {
      conversation {
        id
      }
      reply {
        id
      }
    }
  }
`;

export const stopReplyMutation = gql<
  { stopReply: { reply: Message } | null },
  { input: { messageId: string } }
>`
  mutation StopReply($input: StopReplyInput!) {
    stopReply(input: $input) {
      reply {
        ...MessageFields
      }
    }
  }
  ${messageFields}
`;

export const editMessageMutation = gql<
  { editMessage: { conversation: { id: string }; reply: { id: string } } | null },
  { input: { messageId: string; content: string; idempotencyKey: string } }
>`
  mutation EditMessage($input: EditMessageInput!) {
    editMessage(input: $input) {
      conversation {
        id
      }
      reply {
        id
      }
    }
  }
`;

export const regenerateReplyMutation = gql<
  { regenerateReply: { conversation: { id: string }; reply: { id: string } } | null },
  { input: { messageId: string } }
>`
  mutation RegenerateReply($input: RegenerateReplyInput!) {
    regenerateReply(input: $input) {
      conversation {
        id
      }
      reply {
        id
      }
    }
  }
`;

export const selectVersionMutation = gql<
  { selectVersion: { conversation: { id: string } } | null },
  { input: { messageId: string } }
>`
  mutation SelectVersion($input: SelectVersionInput!) {
    selectVersion(input: $input) {
      conversation {
        id
      }
    }
  }
`;

export const rateMessageMutation = gql<
  { rateMessage: { message: { id: string; feedback: { rating: Rating } | null } } | null },
  { input: { messageId: string; rating: Rating | null } }
>`
  mutation RateMessage($input: RateMessageInput!) {
    rateMessage(input: $input) {
      message {
        id
        feedback {
          rating
        }
      }
    }
  }
`;

export const updateConversationMutation = gql<
  { updateConversation: { conversation: Conversation } | null },
  { input: { conversationId: string; title?: string | null; archived?: boolean; pinned?: boolean } }
>`
  mutation UpdateConversation($input: UpdateConversationInput!) {
    updateConversation(input: $input) {
      conversation {
        id
        title
        model
        archived
        pinned
      }
    }
  }
`;

export const resetConversationMutation = gql<
  { resetConversation: { conversation: { id: string } } | null },
  { input: { conversationId: string } }
>`
  mutation ResetConversation($input: ResetConversationInput!) {
    resetConversation(input: $input) {
      conversation {
        id
      }
    }
  }
`;

export const deleteConversationMutation = gql<
  { deleteConversation: { deletedConversationId: string } | null },
  { input: { conversationId: string } }
>`
  mutation DeleteConversation($input: DeleteConversationInput!) {
    deleteConversation(input: $input) {
      deletedConversationId
    }
  }
`;

export type ConversationEvent =
  | { __typename: "ConversationSnapshot"; conversation: ConversationWithMessages }
  | { __typename: "MessageAdded"; messageEdge: { node: Message } }
  | { __typename: "MessageChanged"; message: Message }
  | { __typename: "MessageDelta"; messageId: string; offset: number; text: string }
  | { __typename: "MessageFinished"; message: Message }
  | { __typename: "ConversationChanged"; conversation: Omit<ConversationWithMessages, "messages"> }
  | { __typename: "ConversationDeleted" };

/** A conversation and its newest messages, and then whatever happens in it. */
export const conversationEventsSubscription = gql<
  { conversationEvents: ConversationEvent },
  { id: string }
>`
  subscription ConversationEvents($id: ID!) {
    conversationEvents(conversationId: $id) {
      __typename
      ... on ConversationSnapshot {
        conversation {
          ...ConversationFields
          messages(last: 30) {
            nodes {
              ...MessageFields
            }
            pageInfo {
              hasPreviousPage
              startCursor
            }
          }
        }
      }
      ... on MessageAdded {
        messageEdge {
          node {
            ...MessageFields
          }
        }
      }
      ... on MessageChanged {
        message {
          ...MessageFields
        }
      }
      ... on MessageDelta {
        messageId
        offset
        text
      }
      ... on MessageFinished {
        message {
          ...MessageFields
        }
      }
      ... on ConversationChanged {
        conversation {
          ...ConversationFields
        }
      }
    }
  }
  fragment ConversationFields on Conversation {
    id
    title
    model
    archived
    pinned
    activeReply {
      id
    }
  }
  ${messageFields}
`;

/** That something has changed in the lists of conversations: they are pages, and read again. */
export const viewerEventsSubscription = gql<{ viewerEvents: { __typename: string } }>`
  subscription ViewerEvents {
    viewerEvents {
      __typename
    }
  }
`;
