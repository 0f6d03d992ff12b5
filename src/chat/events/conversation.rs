//! One subscriber of one conversation.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use futures_util::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use tokio::time::{Instant, sleep_until, timeout};

use super::{hub::Hints, patiently, pause_after};
use crate::{
    chat::{
        Chat, ChatError,
        reply::{Delta, FeedEvent, ReplyFeed},
    },
    db::{ConversationNews, DbError, Subject, Unfinished, Viewer},
    model::{Conversation, ConversationId, Message, MessageId, MessageRole, MessageStatus},
};

/// How many messages are told of one by one; after more a snapshot says it shorter.
const MOST_CHANGES: usize = 20;

/// How long text waits for what is being read, so that in the ordinary case events come in their
/// natural order. It does not wait for a database that is gone.
const COURTESY: Duration = Duration::from_millis(200);

/// First `Snapshot`; again when the active path is another one, or it cannot be said what happened.
/// Then the text so far of the running reply, as a delta at offset 0.
#[derive(Clone, Debug)]
pub enum ConversationEvent {
    Snapshot(Conversation),
    /// At the end of the active path.
    Added(Message),
    /// Its status or its feedback.
    MessageChanged(Message),
    /// `offset` in UTF-16 code units.
    Delta {
        message_id: MessageId,
        offset: u32,
        text: String,
    },
    Finished(Message),
    Changed(Conversation),
    /// The end.
    Deleted(ConversationId),
}

impl Chat {
    /// Everything in one conversation, whichever device caused it.
    pub async fn follow_conversation(
        &self,
        viewer: &Viewer,
        id: ConversationId,
    ) -> Result<BoxStream<'static, Result<ConversationEvent, ChatError>>, ChatError> {
        let hints = self.hub.follow(Subject::Conversation(viewer.user_id(), id));
        let conversation = patiently(self, || self.clone().find_conversation(viewer.clone(), id))
            .await?
            .ok_or(ChatError::NotFound("conversation"))?;
        let mut follower = Follower {
            chat: self.clone(),
            viewer: viewer.clone(),
            hints,
            ready: VecDeque::new(),
            told: conversation.clone(),
            snapshots: 0,
            unfinished: BTreeMap::new(),
            feed: None,
            half_told: None,
            ended: None,
            overdue: None,
            reading: None,
            is_over: false,
        };
        follower.show(conversation);
        Ok(stream::unfold(follower, |mut follower| async move {
            let event = follower.next().await?;
            Some((event, follower))
        })
        .boxed())
    }

    async fn find_conversation(
        self,
        viewer: Viewer,
        id: ConversationId,
    ) -> Result<Option<Conversation>, DbError> {
        let mut tx = self.database.viewer_tx(&viewer).await?;
        let conversation = tx.conversation(id).await?;
        tx.commit().await?;
        Ok(conversation)
    }

    /// As of one moment.
    async fn read_news(self, viewer: Viewer, told: Conversation) -> Result<News, DbError> {
        let mut tx = self.database.viewer_snapshot(&viewer).await?;
        let mut news = tx
            .conversation_news(told.id, told.revision, MOST_CHANGES)
            .await?;
        let unfinished = tx.unfinished_replies(told.id).await?;
        tx.commit().await?;
        if let Some(messages) = news.as_mut().and_then(|news| news.messages.as_mut()) {
            self.replies.fill_in(&viewer, messages);
        }
        Ok(News { news, unfinished })
    }
}

struct News {
    /// `None`: the conversation is gone.
    news: Option<ConversationNews>,
    unfinished: Vec<Unfinished>,
}

struct Follower {
    chat: Chat,
    viewer: Viewer,
    hints: Hints,
    /// Events that are known already: one read's at the most.
    ready: VecDeque<ConversationEvent>,
    /// The conversation as the subscriber knows it: its revision is what has been told.
    told: Conversation,
    /// How many snapshots were told in a row of which it is not known yet whether they show all;
    /// 0: what is told is right.
    snapshots: u32,
    /// The replies that have not ended for the subscriber, by their positions.
    unfinished: BTreeMap<i32, Unfinished>,
    /// The text of the first of them.
    feed: Option<(Unfinished, ReplyFeed)>,
    /// The reply of which text was told last, unless its feed has told all of it.
    half_told: Option<MessageId>,
    /// The reply whose end its feed told last, and its revision then: a read finds it again.
    ended: Option<(MessageId, i64)>,
    /// The reply whose text is being told has ended, and nothing else is told before the rest of
    /// its text; should that not have come by then, its end is told as it was read.
    overdue: Option<Instant>,
    /// A read that takes its time.
    reading: Option<BoxFuture<'static, Result<News, ChatError>>>,
    is_over: bool,
}

/// What there is to do next.
enum Step {
    Look,
    Tell(Result<News, ChatError>),
    Text(FeedEvent),
}

impl Follower {
    async fn next(&mut self) -> Option<Result<ConversationEvent, ChatError>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            if self.is_over {
                return None;
            }
            let advanced = match self.step().await {
                Step::Look => self.look().await,
                Step::Tell(news) => {
                    self.reading = None;
                    news.map(|news| self.tell(news))
                }
                Step::Text(event) => self.take_text(event).await,
            };
            if let Err(error) = advanced {
                self.is_over = true;
                return Some(Err(error));
            }
        }
    }

    async fn step(&mut self) -> Step {
        if self.snapshots > 0 {
            // The one before has been put together by now.
            pause_after(self.snapshots, self.chat.timing.progress).await;
            return Step::Tell(self.read().await);
        }
        let is_ending = self.overdue.is_some();
        let is_reading = self.reading.is_some();
        tokio::select! {
            // Text may come without a pause.
            biased;
            news = maybe(self.reading.as_mut()) => Step::Tell(news),
            () = self.hints.beyond(self.told.revision), if !is_reading && !is_ending => Step::Look,
            event = maybe(self.feed.as_mut().map(|(_, feed)| Box::pin(feed.next()))) => {
                Step::Text(event)
            }
            () = maybe(self.overdue.map(|at| Box::pin(sleep_until(at)))), if !is_reading => Step::Look,
        }
    }

    fn read(&self) -> impl Future<Output = Result<News, ChatError>> + Send + use<> {
        let (chat, viewer, told) = (self.chat.clone(), self.viewer.clone(), self.told.clone());
        async move {
            let ask = || chat.clone().read_news(viewer.clone(), told.clone());
            patiently(&chat, ask).await
        }
    }

    async fn look(&mut self) -> Result<(), ChatError> {
        if self.reading.is_some() {
            return Ok(());
        }
        let mut reading = self.read().boxed();
        match timeout(COURTESY, &mut reading).await {
            Ok(news) => self.tell(news?),
            Err(_) => self.reading = Some(reading),
        }
        Ok(())
    }

    /// Everything anew.
    fn show(&mut self, conversation: Conversation) {
        self.snapshots += 1;
        self.feed = None;
        self.overdue = None;
        self.unfinished.clear();
        self.told = conversation.clone();
        self.ready
            .push_back(ConversationEvent::Snapshot(conversation));
    }

    fn tell(&mut self, News { news, unfinished }: News) {
        let Some(ConversationNews {
            conversation,
            messages,
        }) = news
        else {
            self.is_over = true;
            self.ready
                .push_back(ConversationEvent::Deleted(self.told.id));
            return;
        };
        let is_settling = self.snapshots > 0;
        let is_other = conversation.path_revision != self.told.path_revision
            || conversation.revision < self.told.revision;
        // A snapshot that was put together meanwhile may show what came at the end, or not.
        let is_unclear = is_settling && conversation.path_length != self.told.path_length;
        let Some(messages) = messages.filter(|_| !is_other && !is_unclear) else {
            self.show(conversation);
            return;
        };
        if is_settling {
            self.snapshots = 0;
            self.unfinished = unfinished.into_iter().map(|it| (it.position, it)).collect();
        } else if self.waits_for_text(&messages) {
            return;
        }
        self.overdue = None;
        for message in messages {
            let event = self.event_of(message, is_settling);
            self.ready.extend(event);
        }
        if conversation.revision > self.told.revision {
            self.ready
                .push_back(ConversationEvent::Changed(conversation.clone()));
        }
        self.told = conversation;
        self.feed_first();
    }

    /// Whether the rest of a text has to be told first.
    fn waits_for_text(&mut self, messages: &[Message]) -> bool {
        let has_ended = self.feed.as_ref().is_some_and(|(reply, _)| {
            messages
                .iter()
                .any(|message| message.id == reply.message_id && message.status.is_terminal())
        });
        if !has_ended {
            return false;
        }
        let patience = 2 * self.chat.timing.progress;
        let overdue = *self
            .overdue
            .get_or_insert_with(|| Instant::now() + patience);
        Instant::now() < overdue
    }

    fn event_of(&mut self, message: Message, is_settling: bool) -> Option<ConversationEvent> {
        if message.active && message.position >= self.told.path_length {
            if !message.status.is_terminal() {
                self.unfinished
                    .insert(message.position, Unfinished::of(&message));
            }
            return Some(ConversationEvent::Added(message));
        }
        // Its end was told, and this is that end, or was read before it.
        if self
            .ended
            .is_some_and(|(id, revision)| id == message.id && message.revision <= revision)
        {
            return None;
        }
        if !message.status.is_terminal() {
            self.unfinished
                .insert(message.position, Unfinished::of(&message));
            return Some(ConversationEvent::MessageChanged(message));
        }
        // A snapshot may have shown it unfinished that was put together before its end.
        let may_be_news = is_settling && message.role == MessageRole::Assistant;
        if self.end(message.position, message.id) || may_be_news {
            self.tell_rest(&message);
            return Some(ConversationEvent::Finished(message));
        }
        Some(ConversationEvent::MessageChanged(message))
    }

    /// Before an end that its feed has not told: what was told of a text amounts to the whole of it.
    fn tell_rest(&mut self, message: &Message) {
        if message.active && self.half_told.take_if(|id| *id == message.id).is_some() {
            self.ready.push_back(ConversationEvent::Delta {
                message_id: message.id,
                offset: 0,
                text: message.content.clone(),
            });
        }
    }

    /// Whether the subscriber did not know yet that it has ended.
    fn end(&mut self, position: i32, id: MessageId) -> bool {
        self.feed.take_if(|(reply, _)| reply.message_id == id);
        let is_known = self
            .unfinished
            .get(&position)
            .is_some_and(|reply| reply.message_id == id);
        if is_known {
            self.unfinished.remove(&position);
        }
        is_known
    }

    /// The oldest unfinished reply is the one that is being written, or will be next.
    fn feed_first(&mut self) {
        if self.feed.is_some() {
            return;
        }
        if let Some(reply) = self.unfinished.first_entry().map(|first| *first.get()) {
            let feed = self.chat.replies.read(&self.viewer, reply.message_id);
            self.feed = Some((reply, feed));
        }
    }

    async fn take_text(&mut self, event: FeedEvent) -> Result<(), ChatError> {
        let Some((reply, _)) = self.feed else {
            return Ok(());
        };
        match event {
            FeedEvent::Delta(Delta { offset, text }) => {
                self.half_told = Some(reply.message_id);
                self.ready.push_back(ConversationEvent::Delta {
                    message_id: reply.message_id,
                    offset,
                    text,
                });
                Ok(())
            }
            FeedEvent::Streaming => {
                let known = self.unfinished.get(&reply.position);
                if known.is_some_and(|known| known.status == MessageStatus::Streaming) {
                    return Ok(());
                }
                self.look().await
            }
            FeedEvent::Ended(Ok(message)) => {
                self.end(message.position, message.id);
                self.overdue = None;
                self.half_told = None;
                self.ended = Some((message.id, message.revision));
                self.ready.push_back(ConversationEvent::Finished(*message));
                self.look().await?;
                self.feed_first();
                Ok(())
            }
            // What took it away is read.
            FeedEvent::Ended(Err(ChatError::NotFound(_))) => {
                self.end(reply.position, reply.message_id);
                self.overdue = None;
                self.look().await
            }
            FeedEvent::Ended(Err(error)) => Err(error),
        }
    }
}

/// What there may be to wait for.
async fn maybe<F: Future + Unpin>(event: Option<F>) -> F::Output {
    match event {
        Some(event) => event.await,
        None => std::future::pending().await,
    }
}
