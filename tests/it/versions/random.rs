//! Random histories against a model of the tree that is simple enough to be believed.

use std::collections::{BTreeMap, HashMap};

use loquat::{
    config::ChatSettings,
    db::Viewer,
    model::{Conversation, ConversationId, MessageId},
};
use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof},
    test_runner::{Config, TestCaseError, TestRunner},
};
use uuid::Uuid;

use super::{edited, exchange, path, regenerated};
use crate::support::{QUICK, Replica, TestDatabase};

/// What a user does. A number picks one of the messages that it can be done to.
#[derive(Clone, Copy, Debug)]
enum Step {
    Send,
    Edit(u8),
    Regenerate(u8),
    Select(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Send),
        2 => any::<u8>().prop_map(Step::Edit),
        2 => any::<u8>().prop_map(Step::Regenerate),
        3 => any::<u8>().prop_map(Step::Select),
    ];
    vec(step, 1..25)
}

/// A conversation as it should be. Messages are numbers, in the order in which they were stored.
#[derive(Default)]
struct Tree {
    messages: Vec<Node>,
    /// The way down from a message, or into the conversation.
    chosen: HashMap<Option<usize>, usize>,
}

struct Node {
    id: MessageId,
    parent: Option<usize>,
    is_user: bool,
}

impl Tree {
    fn add(&mut self, id: MessageId, parent: Option<usize>, is_user: bool) -> usize {
        let node = Node {
            id,
            parent,
            is_user,
        };
        self.messages.push(node);
        let index = self.messages.len() - 1;
        self.choose(index);
        index
    }

    fn add_exchange(&mut self, parent: Option<usize>, question: MessageId, reply: MessageId) {
        let question = self.add(question, parent, true);
        self.add(reply, Some(question), false);
    }

    fn choose(&mut self, index: usize) {
        let mut at = Some(index);
        while let Some(index) = at {
            at = self.messages[index].parent;
            self.chosen.insert(at, index);
        }
    }

    fn path(&self) -> Vec<usize> {
        let mut path = Vec::new();
        let mut at = None;
        while let Some(next) = self.chosen.get(&at) {
            path.push(*next);
            at = Some(*next);
        }
        path
    }

    /// One of those messages for which this holds, if there are any.
    fn pick(&self, number: u8, holds: impl Fn(&Node) -> bool) -> Option<usize> {
        let fitting: Vec<usize> = (0..self.messages.len())
            .filter(|index| holds(&self.messages[*index]))
            .collect();
        (!fitting.is_empty()).then(|| fitting[usize::from(number) % fitting.len()])
    }

    /// What the database should hold.
    fn rows(&self) -> BTreeMap<Uuid, Row> {
        let path = self.path();
        let mut versions: HashMap<Option<usize>, i32> = HashMap::new();
        let rows = self.messages.iter().enumerate().map(|(index, node)| {
            let number = versions.entry(node.parent).or_default();
            *number += 1;
            let mut depth = 0;
            let mut at = node.parent;
            while let Some(parent) = at {
                depth += 1;
                at = self.messages[parent].parent;
            }
            let row = Row {
                parent: node.parent.map(|parent| self.messages[parent].id.uuid()),
                position: depth,
                version_number: *number,
                active: path.contains(&index),
                preferred: self.chosen.get(&node.parent) == Some(&index),
            };
            (node.id.uuid(), row)
        });
        rows.collect()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    parent: Option<Uuid>,
    position: i32,
    version_number: i32,
    active: bool,
    preferred: bool,
}

/// Where one history takes place.
struct Place<'a> {
    test: &'a TestDatabase,
    replica: &'a Replica,
    viewer: &'a Viewer,
    conversation: ConversationId,
}

impl Place<'_> {
    async fn take(&self, step: Step, tree: &mut Tree) {
        let (replica, viewer) = (self.replica, self.viewer);
        match step {
            Step::Send => {
                let sent = exchange(replica, viewer, self.conversation, "hi").await;
                let end = tree.path().last().copied();
                tree.add_exchange(end, sent.user_message.id, sent.reply.id);
            }
            Step::Edit(number) => {
                if let Some(index) = tree.pick(number, |node| node.is_user) {
                    let Node { id, parent, .. } = tree.messages[index];
                    let sent = edited(replica, viewer, id, "or rather").await;
                    tree.add_exchange(parent, sent.user_message.id, sent.reply.id);
                }
            }
            Step::Regenerate(number) => {
                let is_reply = |node: &Node| !node.is_user && node.parent.is_some();
                if let Some(index) = tree.pick(number, is_reply) {
                    let Node { id, parent, .. } = tree.messages[index];
                    let made = regenerated(replica, viewer, id, "again").await;
                    tree.add(made.reply.id, parent, false);
                }
            }
            Step::Select(number) => {
                if let Some(index) = tree.pick(number, |_| true) {
                    let selected = replica.chat.select_version(viewer, tree.messages[index].id);
                    selected.await.expect("selected");
                    tree.choose(index);
                }
            }
        }
    }

    /// The rows of the conversation, and the revision of each.
    async fn rows(&self) -> (BTreeMap<Uuid, Row>, BTreeMap<Uuid, i64>) {
        type Stored = (Uuid, Option<Uuid>, i32, i32, bool, bool, i64);
        let stored: Vec<Stored> = sqlx::query_as(
            "select id, parent_id, position, version_number, active, preferred, revision \
             from chat.messages where conversation_id = $1",
        )
        .bind(self.conversation.uuid())
        .fetch_all(&mut self.test.superuser().await)
        .await
        .expect("rows");
        let revisions = stored.iter().map(|row| (row.0, row.6)).collect();
        let rows = stored.into_iter().map(
            |(id, parent, position, version_number, active, preferred, _)| {
                let row = Row {
                    parent,
                    position,
                    version_number,
                    active,
                    preferred,
                };
                (id, row)
            },
        );
        (rows.collect(), revisions)
    }

    async fn now(&self) -> Conversation {
        let found = self
            .replica
            .chat
            .conversations(self.viewer, &[self.conversation])
            .await;
        found.expect("conversations").remove(0)
    }

    async fn check(&self, steps: &[Step]) -> Result<(), TestCaseError> {
        let mut tree = Tree::default();
        for greeting in path(self.replica, self.viewer, self.conversation).await {
            tree.add(greeting.id, None, false);
        }
        for step in steps {
            let before = self.rows().await;
            let revision = self.now().await.revision;
            self.take(*step, &mut tree).await;
            let (rows, revisions) = self.rows().await;
            prop_assert_eq!(&rows, &tree.rows(), "after {:?}", step);
            let length = usize::try_from(self.now().await.path_length);
            prop_assert_eq!(length, Ok(tree.path().len()), "after {:?}", step);
            // Who looks for what has a higher revision finds what changed, and nothing else.
            for (id, row) in &rows {
                let changed = before.0.get(id).is_none_or(|old| old.active != row.active);
                prop_assert_eq!(revisions[id] > revision, changed, "after {:?}", step);
            }
        }
        let shown: Vec<MessageId> = path(self.replica, self.viewer, self.conversation)
            .await
            .iter()
            .map(|message| message.id)
            .collect();
        let expected: Vec<MessageId> = tree
            .path()
            .into_iter()
            .map(|index| tree.messages[index].id)
            .collect();
        prop_assert_eq!(shown, expected);
        Ok(())
    }
}

#[test]
fn any_history_of_versions_leaves_the_tree_that_it_should() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for greeting in [None, Some("Welcome!".to_owned())] {
        let (test, replica, viewer) = runtime.block_on(async {
            let test = TestDatabase::create().await;
            let settings = ChatSettings {
                greeting: greeting.clone(),
                ..ChatSettings::default()
            };
            let replica = Replica::with(&test, QUICK, settings).await;
            let viewer = replica.viewer("alice").await;
            (test, replica, viewer)
        });
        let mut runner = TestRunner::new(Config {
            cases: 12,
            failure_persistence: None,
            ..Config::default()
        });
        let result = runner.run(&steps(), |steps| {
            runtime.block_on(async {
                let place = Place {
                    test: &test,
                    replica: &replica,
                    viewer: &viewer,
                    conversation: replica.conversation(&viewer).await,
                };
                place.check(&steps).await
            })
        });
        if let Err(failure) = result {
            panic!("{failure}");
        }
    }
}
