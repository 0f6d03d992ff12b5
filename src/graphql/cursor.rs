//! Pages: arguments in, connections' cursors out. A cursor is the sort key of its row, so it
//! stays good while rows come and go; it carries a mark of the list that it belongs to.

use async_graphql::SimpleObject;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::ApiError;
use crate::{
    db::{AuditEventKey, ConversationKey, UserKey},
    model::{
        ApiKeyId, AuditEventId, ConversationFilter, ConversationId, ConversationOrder,
        ConversationOrderField, Direction, Page, PageRequest, Slice, UserId,
    },
};

const DEFAULT_PAGE: u32 = 20;
const LARGEST_PAGE: u32 = 100;

/// Where a page of a connection lies in its whole.
#[derive(Clone, Debug, SimpleObject)]
pub struct PageInfo {
    /// Whether rows follow the page. Meant for paging with `first` and `after`.
    pub has_next_page: bool,
    /// Whether rows come before the page. Meant for paging with `last` and `before`.
    pub has_previous_page: bool,
    /// The cursor of the first row, null on an empty page.
    pub start_cursor: Option<String>,
    /// The cursor of the last row, null on an empty page.
    pub end_cursor: Option<String>,
}

/// The four arguments of every connection.
#[derive(Clone, Debug, Default)]
pub struct PageArguments {
    pub first: Option<i32>,
    pub after: Option<String>,
    pub last: Option<i32>,
    pub before: Option<String>,
}

impl PageArguments {
    pub fn request<L: List>(&self, list: &L) -> Result<PageRequest<L::Key>, ApiError> {
        let slice = match (self.first, self.last) {
            (Some(_), Some(_)) => {
                return Err(ApiError::bad_input("last", "cannot go together with first"));
            }
            (Some(first), None) => Slice::First(page_size("first", first)?),
            (None, Some(last)) => Slice::Last(page_size("last", last)?),
            (None, None) => Slice::First(DEFAULT_PAGE),
        };
        Ok(PageRequest {
            slice,
            after: key("after", self.after.as_deref(), list)?,
            before: key("before", self.before.as_deref(), list)?,
        })
    }
}

fn page_size(argument: &'static str, size: i32) -> Result<u32, ApiError> {
    u32::try_from(size)
        .ok()
        .filter(|size| *size <= LARGEST_PAGE)
        .ok_or_else(|| ApiError::bad_input(argument, "must be between 0 and 100"))
}

fn key<L: List>(
    argument: &'static str,
    cursor: Option<&str>,
    list: &L,
) -> Result<Option<L::Key>, ApiError> {
    cursor
        .map(|cursor| decode(cursor, list).ok_or_else(|| ApiError::bad_input(
            argument,
            "is not a cursor of this list; a cursor is good for the filter and the order that it came with",
        )))
        .transpose()
}

/// A list that is paged through: what its cursors are made of, and which list they are of.
pub trait List {
    type Key: Copy;

    /// Differs between lists, filters and orders.
    fn mark(&self) -> String;
    fn key_bytes(key: Self::Key) -> Vec<u8>;
    fn key_from_bytes(bytes: &[u8]) -> Option<Self::Key>;
}

pub fn encode<L: List>(list: &L, key: L::Key) -> String {
    let mut bytes = mark_digest(list).to_vec();
    bytes.extend(L::key_bytes(key));
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn decode<L: List>(cursor: &str, list: &L) -> Option<L::Key> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let key = bytes.strip_prefix(&mark_digest(list))?;
    L::key_from_bytes(key)
}

fn mark_digest<L: List>(list: &L) -> [u8; 4] {
    let digest = Sha256::digest(list.mark());
    [digest[0], digest[1], digest[2], digest[3]]
}

/// The viewer's conversations under one filter and order.
#[derive(Clone, Debug, Default)]
pub struct ConversationList {
    pub filter: ConversationFilter,
    pub order: ConversationOrder,
}

impl List for ConversationList {
    type Key = ConversationKey;

    /// Clients hold cursors across releases: these words never change, and a member that is
    /// absent leaves no trace, so that a filter of tomorrow changes no mark of today. Text is
    /// quoted, for it could spell out another member.
    fn mark(&self) -> String {
        let ConversationOrder { field, direction } = self.order;
        let field = match field {
            ConversationOrderField::LastActiveAt => "lastActiveAt",
            ConversationOrderField::CreatedAt => "createdAt",
        };
        let direction = match direction {
            Direction::Ascending => "ascending",
            Direction::Descending => "descending",
        };
        let mut mark = format!("conversations by {field} {direction}");
        let ConversationFilter {
            archived,
            pinned,
            title_contains,
        } = &self.filter;
        if let Some(archived) = archived {
            mark.push_str(&format!(" archived={archived}"));
        }
        if let Some(pinned) = pinned {
            mark.push_str(&format!(" pinned={pinned}"));
        }
        if let Some(text) = title_contains {
            let quoted = serde_json::Value::from(text.as_str());
            mark.push_str(&format!(" titleContains={quoted}"));
        }
        mark
    }

    fn key_bytes((time, id): ConversationKey) -> Vec<u8> {
        time_and_id_bytes(time, id.uuid())
    }

    fn key_from_bytes(bytes: &[u8]) -> Option<ConversationKey> {
        let (time, id) = time_and_id(bytes)?;
        Some((time, ConversationId::from_uuid(id)))
    }
}

/// All users, newest first, or those that a text finds.
#[derive(Clone, Debug, Default)]
pub struct UserList {
    pub query: Option<String>,
}

impl List for UserList {
    type Key = UserKey;

    fn mark(&self) -> String {
        match &self.query {
            Some(text) => format!("users query={}", serde_json::Value::from(text.as_str())),
            None => "users".to_owned(),
        }
    }

    fn key_bytes((time, id): UserKey) -> Vec<u8> {
        time_and_id_bytes(time, id.uuid())
    }

    fn key_from_bytes(bytes: &[u8]) -> Option<UserKey> {
        let (time, id) = time_and_id(bytes)?;
        Some((time, UserId::from_uuid(id)))
    }
}

/// Events of the audit log, newest first.
#[derive(Clone, Copy, Debug)]
pub enum AuditList {
    /// What the viewer has done.
    Own,
    /// What anybody has done, or what one user has done and what was done to them.
    All { about: Option<UserId> },
}

impl List for AuditList {
    type Key = AuditEventKey;

    fn mark(&self) -> String {
        match self {
            Self::Own => "audit events".to_owned(),
            Self::All { about: None } => "all audit events".to_owned(),
            Self::All { about: Some(id) } => format!("all audit events userId={id}"),
        }
    }

    fn key_bytes((time, id): AuditEventKey) -> Vec<u8> {
        time_and_id_bytes(time, id.uuid())
    }

    fn key_from_bytes(bytes: &[u8]) -> Option<AuditEventKey> {
        let (time, id) = time_and_id(bytes)?;
        Some((time, AuditEventId::from_uuid(id)))
    }
}

fn time_and_id_bytes(time: DateTime<Utc>, id: Uuid) -> Vec<u8> {
    let mut bytes = time.timestamp_micros().to_be_bytes().to_vec();
    bytes.extend(id.as_bytes());
    bytes
}

fn time_and_id(bytes: &[u8]) -> Option<(DateTime<Utc>, Uuid)> {
    let (time, id) = bytes.split_at_checked(8)?;
    let time = DateTime::<Utc>::from_timestamp_micros(i64::from_be_bytes(time.try_into().ok()?))?;
    // The years that PostgreSQL's timestamps span, for a made-up cursor must not fail there.
    let storable = (-4000..200_000).contains(&chrono::Datelike::year(&time));
    let id = Uuid::from_slice(id).ok()?;
    storable.then_some((time, id))
}

/// The active path of one conversation.
#[derive(Clone, Copy, Debug)]
pub struct MessageList {
    pub conversation_id: ConversationId,
}

impl List for MessageList {
    /// The position on the path.
    type Key = i32;

    fn mark(&self) -> String {
        format!("messages {}", self.conversation_id)
    }

    fn key_bytes(position: i32) -> Vec<u8> {
        position.to_be_bytes().to_vec()
    }

    fn key_from_bytes(bytes: &[u8]) -> Option<i32> {
        let position = i32::from_be_bytes(bytes.try_into().ok()?);
        (position >= 0).then_some(position)
    }
}

/// The viewer's API keys, the newest first.
#[derive(Clone, Copy, Debug)]
pub struct ApiKeyList;

impl List for ApiKeyList {
    /// Ids are made in the order of time.
    type Key = ApiKeyId;

    fn mark(&self) -> String {
        "API keys".to_owned()
    }

    fn key_bytes(id: ApiKeyId) -> Vec<u8> {
        id.uuid().as_bytes().to_vec()
    }

    fn key_from_bytes(bytes: &[u8]) -> Option<ApiKeyId> {
        Uuid::from_slice(bytes).ok().map(ApiKeyId::from_uuid)
    }
}

impl PageInfo {
    pub fn of<T>(page: &Page<T>, cursor: impl Fn(&T) -> String) -> Self {
        Self {
            has_next_page: page.has_next,
            has_previous_page: page.has_previous,
            start_cursor: page.items.first().map(&cursor),
            end_cursor: page.items.last().map(&cursor),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    #[test]
    fn a_cursor_is_refused_under_another_filter_order_or_conversation() {
        let list = ConversationList::default();
        let key = (
            DateTime::<Utc>::from_timestamp_micros(1_700_000_000_123_456).expect("a time"),
            ConversationId::new(),
        );
        let cursor = encode(&list, key);
        assert_eq!(decode(&cursor, &list), Some(key));
        let pinned = ConversationList {
            filter: ConversationFilter {
                pinned: Some(true),
                ..Default::default()
            },
            ..Default::default()
        };
        assert_eq!(decode(&cursor, &pinned), None);

        let one = MessageList {
            conversation_id: ConversationId::new(),
        };
        let other = MessageList {
            conversation_id: ConversationId::new(),
        };
        let cursor = encode(&one, 7);
        assert_eq!(decode(&cursor, &one), Some(7));
        assert_eq!(decode(&cursor, &other), None);
    }

    #[test]
    fn the_mark_of_a_list_keeps_its_words() {
        let mut list = ConversationList::default();
        assert_eq!(list.mark(), "conversations by lastActiveAt descending");
        list.order = ConversationOrder {
            field: ConversationOrderField::CreatedAt,
            direction: Direction::Ascending,
        };
        list.filter.archived = Some(false);
        assert_eq!(
            list.mark(),
            "conversations by createdAt ascending archived=false"
        );
        list.filter.pinned = Some(true);
        list.filter.title_contains = Some("a\" pinned=\\".to_owned());
        assert_eq!(
            list.mark(),
            r#"conversations by createdAt ascending archived=false pinned=true titleContains="a\" pinned=\\""#
        );
        let conversation_id = ConversationId::from_uuid(Uuid::nil());
        let messages = MessageList { conversation_id };
        assert_eq!(messages.mark(), format!("messages {conversation_id}"));
        assert_eq!(ApiKeyList.mark(), "API keys");
        assert_eq!(AuditList::Own.mark(), "audit events");
        assert_eq!(AuditList::All { about: None }.mark(), "all audit events");
        let about = Some(UserId::from_uuid(Uuid::nil()));
        assert_eq!(
            AuditList::All { about }.mark(),
            format!("all audit events userId={}", Uuid::nil())
        );
        assert_eq!(UserList::default().mark(), "users");
        let found = UserList {
            query: Some("a\"".to_owned()),
        };
        assert_eq!(found.mark(), r#"users query="a\"""#);
        // The digest of the default list, as cursors that are out there begin.
        assert_eq!(
            mark_digest(&ConversationList::default()),
            [0x7d, 0x7a, 0x23, 0x25]
        );
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_decoder(text in any::<String>(), bytes in any::<Vec<u8>>()) {
            let list = ConversationList::default();
            let _ = decode(&text, &list);
            let mut marked = mark_digest(&list).to_vec();
            marked.extend(bytes);
            let _ = decode(&BASE64_URL_SAFE_NO_PAD.encode(marked), &list);
        }
    }
}
