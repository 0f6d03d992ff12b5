import { createContext, useContext, useEffect, useState } from "react";
import { useQuery, useSubscription } from "urql";
import { ErrorNotice } from "./errors";
import { conversationsQuery, viewerEventsSubscription } from "./operations";
import { hrefOf } from "./route";

type Filter = { archived: boolean; pinned?: boolean };

const pinned: Filter = { archived: false, pinned: true };
const recent: Filter = { archived: false, pinned: false };
const archived: Filter = { archived: true };

/** How often something in the lists has changed, on whichever device, or may have. */
const News = createContext(0);

export function ConversationList({ openId }: { openId?: string }) {
  const [showsArchived, setShowsArchived] = useState(false);
  const [{ data: news = 0 }] = useSubscription<unknown, number>(
    { query: viewerEventsSubscription },
    (news = 0) => news + 1,
  );
  return (
    <News.Provider value={news}>
      <nav aria-label="Chats">
        <a href={hrefOf({ view: "new" })} className="button primary new">
          New chat
        </a>
        {showsArchived ? (
          <Section heading="Archived" filter={archived} openId={openId} />
        ) : (
          <>
            <Section heading="Pinned" filter={pinned} openId={openId} />
            <Section heading="Recent" filter={recent} openId={openId} />
          </>
        )}
        <button
          type="button"
          className="link"
          aria-pressed={showsArchived}
          onClick={() => setShowsArchived(!showsArchived)}
        >
          {showsArchived ? "Back to the chats" : "Archived chats"}
        </button>
      </nav>
    </News.Provider>
  );
}

type PageProps = { heading?: string; filter: Filter; openId?: string; after?: string | null };

// An answer without a conversation does not name the type, so the cache could not know that a
// first conversation changes it.
const context = { additionalTypenames: ["Conversation"] };

/** One page of a list; the page after it stands below, once it is asked for. */
function Section({ heading, filter, openId, after = null }: PageProps) {
  const [showsMore, setShowsMore] = useState(false);
  const [{ data, error }, refetch] = useQuery({
    query: conversationsQuery,
    variables: { filter, after },
    context,
  });
  const news = useContext(News);
  useEffect(() => {
    // The first event says only that the list is followed.
    if (news > 1) refetch({ requestPolicy: "network-only" });
  }, [news, refetch]);
  if (error) return <ErrorNotice error={error} onRetry={refetch} />;
  if (!data?.viewer.conversations.nodes.length) return null;

  const { nodes, pageInfo } = data.viewer.conversations;
  return (
    <>
      {heading && <h2>{heading}</h2>}
      <ul>
        {nodes.map(({ id, title }) => (
          <li key={id}>
            <a
              href={hrefOf({ view: "conversation", id })}
              aria-current={id === openId ? "page" : undefined}
            >
              {title ?? "Untitled chat"}
            </a>
          </li>
        ))}
      </ul>
      {pageInfo.hasNextPage && !showsMore && (
        <button type="button" className="link" onClick={() => setShowsMore(true)}>
          Show more
        </button>
      )}
      {pageInfo.hasNextPage && showsMore && (
        <Section filter={filter} openId={openId} after={pageInfo.endCursor} />
      )}
    </>
  );
}
