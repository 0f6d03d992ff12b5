use redis::{RedisError, ServerError};

/// Why a node is of no use now. Each text is one line and holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error("{}", one_line(.0))]
    Failed(#[from] RedisError),
    #[error("it did not answer in time")]
    Slow,
    #[error("the connection was lost")]
    Lost,
    #[error("it is a replica; name its master")]
    Replica,
    #[error("it belongs to a cluster in which nobody has any slots")]
    NoSlots,
    /// A slot has moved to another node: no fault.
    #[error("channels moved to another node")]
    Moved,
    #[error("it refuses: {0}")]
    Refused(String),
}

impl From<&ServerError> for NodeError {
    fn from(error: &ServerError) -> Self {
        match error.code() {
            "MOVED" | "ASK" => Self::Moved,
            code => Self::Refused(format!("{code} {}", error.details().unwrap_or_default())),
        }
    }
}

fn one_line(error: &RedisError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        let more = source.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = source.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
