use async_graphql::SimpleObject;

use crate::{
    graphql::scalars::{DateTime, SafeInt},
    model::{self, TimeRange},
};

/// What replies, and titles that the model wrote, have cost within some time, in the model's tokens. Those
/// whose conversation was deleted since are counted.
#[derive(SimpleObject)]
pub struct Usage {
    /// How many replies ended that the provider was asked for, however they ended. Titles are none.
    replies: SafeInt,
    /// What was sent to the model. Where the provider does not say, the server has counted; zero for a
    /// reply without text, of which nobody knows.
    prompt_tokens: SafeInt,
    /// What the model wrote.
    completion_tokens: SafeInt,
    /// Both together.
    total_tokens: SafeInt,
}

impl From<model::Usage> for Usage {
    fn from(usage: model::Usage) -> Self {
        Self {
            replies: SafeInt(usage.replies),
            prompt_tokens: SafeInt(usage.prompt_tokens),
            completion_tokens: SafeInt(usage.completion_tokens),
            total_tokens: SafeInt(usage.total_tokens),
        }
    }
}

pub fn time_range(since: Option<DateTime>, until: Option<DateTime>) -> TimeRange {
    TimeRange {
        since: since.map(|since| since.0),
        until: until.map(|until| until.0),
    }
}
