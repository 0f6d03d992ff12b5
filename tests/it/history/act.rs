//! What devices ask of the server, with the retries that its documentation allows.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    plan::{Act, Busy, PROCESSES, What},
    world::{Chat, World},
};
use crate::support::text;

/// How long a device waits before it asks again.
const PAUSE: Duration = Duration::from_millis(20);

/// Something that was acknowledged under a key.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    pub user: &'static str,
    pub chat: String,
    pub key: String,
    pub document: &'static str,
    pub input: Value,
    /// As it was answered.
    pub data: Value,
    /// What the user said, and the message of theirs that holds it.
    pub said: Option<(String, String)>,
}

const SEND: &str = "mutation($input: SendMessageInput!) { \
    done: sendMessage(input: $input) { userMessage { id } reply { id } } }";
const EDIT: &str = "mutation($input: EditMessageInput!) { \
    done: editMessage(input: $input) { userMessage { id } reply { id } } }";
const REGENERATE: &str = "mutation($input: RegenerateReplyInput!) { \
    done: regenerateReply(input: $input) { reply { id } } }";
const SELECT: &str = "mutation($input: SelectVersionInput!) { \
    done: selectVersion(input: $input) { conversation { id } } }";
const RATE: &str = "mutation($input: RateMessageInput!) { \
    done: rateMessage(input: $input) { message { id } } }";
const RENAME: &str = "mutation($input: UpdateConversationInput!) { \
    done: updateConversation(input: $input) { conversation { id } } }";
const STOP: &str = "mutation($input: StopReplyInput!) { \
    done: stopReply(input: $input) { reply { id status } } }";
const RESET: &str = "mutation($input: ResetConversationInput!) { \
    done: resetConversation(input: $input) { conversation { id } } }";
const DELETE: &str = "mutation($input: DeleteConversationInput!) { \
    done: deleteConversation(input: $input) { deletedConversationId } }";
const START: &str = "mutation($input: StartChatInput!) { \
    done: startChat(input: $input) { conversation { id } } }";

pub async fn perform(world: Arc<World>, number: usize, act: Act) {
    let chat = world.chats.lock().expect("no panic")[act.chat].clone();
    let key = format!("key {number}");
    let content = format!("question {number}");
    let any = |ids: &[String]| (!ids.is_empty()).then(|| ids[act.pick % ids.len()].clone());
    let question = any(&chat.questions);
    let reply = any(&chat.replies);
    let (document, input) = match (act.what, question, reply) {
        (What::Send(busy), _, _) => {
            let mut input = json!({
                "conversationId": chat.id, "content": content, "idempotencyKey": key,
            });
            match busy {
                Busy::Reject => {}
                Busy::Enqueue => input["whenBusy"] = json!("ENQUEUE"),
                Busy::Stop => input["whenBusy"] = json!("STOP"),
            }
            (SEND, input)
        }
        (What::Edit, Some(id), _) => (
            EDIT,
            json!({ "messageId": id, "content": content, "idempotencyKey": key }),
        ),
        (What::Regenerate, _, Some(id)) => (
            REGENERATE,
            json!({ "messageId": id, "idempotencyKey": key }),
        ),
        (What::Select, Some(id), other) => {
            let id = other.filter(|_| act.pick.is_multiple_of(2)).unwrap_or(id);
            (SELECT, json!({ "messageId": id }))
        }
        (What::Rate, _, Some(id)) => (RATE, json!({ "messageId": id, "rating": "UP" })),
        (What::Rename, _, _) => (
            RENAME,
            json!({ "conversationId": chat.id, "title": content }),
        ),
        // The last is the one that most likely still runs.
        (What::Stop, _, Some(id)) => {
            let last = chat
                .replies
                .last()
                .filter(|_| !act.pick.is_multiple_of(3))
                .cloned();
            (STOP, json!({ "messageId": last.unwrap_or(id) }))
        }
        (What::Reset, _, _) => (RESET, json!({ "conversationId": chat.id })),
        (What::Delete, _, _) => (DELETE, json!({ "conversationId": chat.id })),
        _ => return,
    };
    if matches!(act.what, What::Reset | What::Delete) {
        // From before the first attempt: who knows which of them does it.
        cut(&world, &chat.id, |chat| chat.is_cut = true);
    }
    let ask = |process| until_answered(&world, process, chat.user, document, &input);
    let answers = match act.repeated {
        Some(other) => {
            let (one, two) = tokio::join!(ask(act.process), ask(other));
            vec![one, two]
        }
        None => vec![ask(act.process).await],
    };
    let mut done: Option<Value> = None;
    for mut answer in answers {
        match code(&answer) {
            None => {
                let data = answer["data"]["done"].take();
                world.tell(format!("[{number}] answered {data}"));
                if act.what.is_keyed() {
                    assert_eq!(*done.get_or_insert(data.clone()), data, "[{number}]");
                }
                done = Some(data);
            }
            Some(code) => {
                world.tell(format!("[{number}] refused: {answer}"));
                assert!(
                    act.what.may_be(code, &answer),
                    "[{number}] {act:?}: {answer}"
                );
            }
        }
    }
    let Some(data) = done else { return };
    let id_of = |what: &str| data[what]["id"].as_str().map(str::to_owned);
    match act.what {
        What::Send(_) | What::Edit | What::Regenerate => {
            let (said, reply) = (id_of("userMessage"), id_of("reply").expect("a reply"));
            cut(&world, &chat.id, |chat| {
                chat.questions.extend(said.clone());
                chat.replies.push(reply.clone());
            });
            world
                .acknowledged
                .lock()
                .expect("no panic")
                .push(Acknowledged {
                    user: chat.user,
                    chat: chat.id.clone(),
                    key,
                    document,
                    input,
                    data,
                    said: said.map(|id| (id, content)),
                });
        }
        What::Reset => cut(&world, &chat.id, |chat| {
            chat.questions.clear();
            chat.replies.clear();
        }),
        What::Delete => {
            let input = json!({ "idempotencyKey": key });
            let started = until_answered(&world, act.process, chat.user, START, &input).await;
            let id = text(&started["data"]["done"]["conversation"]["id"]);
            cut(&world, &chat.id, |chat| {
                *chat = Chat::new(chat.user, id.clone())
            });
        }
        _ => {}
    }
}

/// Changes what is known of a conversation, if it is there still.
fn cut(world: &World, id: &str, mut change: impl FnMut(&mut Chat)) {
    let mut chats = world.chats.lock().expect("no panic");
    if let Some(chat) = chats.iter_mut().find(|chat| chat.id == id) {
        change(chat);
    }
}

impl What {
    const fn is_keyed(self) -> bool {
        matches!(self, Self::Send(_) | Self::Edit | Self::Regenerate)
    }

    /// Whether this may be refused so.
    fn may_be(self, code: &str, answer: &Value) -> bool {
        let reason = &answer["errors"][0]["extensions"]["reason"];
        match code {
            // Something else reset or deleted it meanwhile.
            "NOT_FOUND" => true,
            "CONFLICT" => {
                reason == "REPLY_IN_PROGRESS"
                    && matches!(
                        self,
                        Self::Send(Busy::Reject) | Self::Edit | Self::Regenerate | Self::Select
                    )
            }
            "LIMIT_EXCEEDED" => self.is_keyed(),
            _ => false,
        }
    }
}

pub fn code(answer: &Value) -> Option<&str> {
    answer["errors"][0]["extensions"]["code"].as_str()
}

/// Asks one process after the other until one knows.
pub async fn until_answered(
    world: &World,
    first: usize,
    user: &str,
    document: &str,
    input: &Value,
) -> Value {
    let mut process = first;
    loop {
        let there = world.process(process);
        let answer = there
            .ask(world.user(user), document, json!({ "input": input }))
            .await;
        if let Some(answer) = answer
            && code(&answer) != Some("UNAVAILABLE")
        {
            return answer;
        }
        tokio::time::sleep(PAUSE).await;
        process = (process + 1) % PROCESSES;
    }
}
