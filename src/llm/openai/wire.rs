//! What goes over the wire, read as leniently as the servers of the field write it.
//!
//! Fields that may be absent, null or of another type than OpenAI's are kept raw and looked at
//! one by one, so that one odd field does not cost the text beside it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Value, value::RawValue};

use crate::{
    llm::{Prompt, TurnRole},
    model::TokenUsage,
};

#[derive(Debug, Serialize)]
pub(super) struct Request<'p> {
    model: &'p str,
    messages: Vec<RequestMessage<'p>>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
}

/// What the limit of an answer's length is called. OpenAI's newer models refuse the first name, and
/// most other servers know no second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LengthLimit {
    MaxTokens,
    MaxCompletionTokens,
}

#[derive(Debug, Serialize)]
struct RequestMessage<'p> {
    role: &'static str,
    content: &'p str,
}

#[derive(Debug, Serialize)]
struct StreamOptions {
    include_usage: bool,
}

impl<'p> Request<'p> {
    pub(super) fn new(prompt: &'p Prompt, ask_usage: bool, limit: LengthLimit) -> Self {
        let messages = prompt.turns.iter().map(|turn| RequestMessage {
            role: match turn.role {
                TurnRole::System => "system",
                TurnRole::User => "user",
                TurnRole::Assistant => "assistant",
            },
            content: &turn.text,
        });
        Self {
            model: &prompt.model,
            messages: messages.collect(),
            stream: true,
            stream_options: ask_usage.then_some(StreamOptions {
                include_usage: true,
            }),
            max_tokens: prompt
                .max_tokens
                .filter(|_| limit == LengthLimit::MaxTokens),
            max_completion_tokens: prompt
                .max_tokens
                .filter(|_| limit == LengthLimit::MaxCompletionTokens),
        }
    }
}

/// What one event of the stream says.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// WTF-8: halves of surrogate pairs are still in it.
    pub(super) text: Vec<u8>,
    /// The model works, even where it has no text to show for it.
    pub(super) is_token: bool,
    pub(super) finish_reason: Option<String>,
    pub(super) usage: Option<TokenUsage>,
    pub(super) error: Option<ErrorReport>,
}

impl Chunk {
    pub(super) fn read(event: &RawValue) -> Result<Self, serde_json::Error> {
        let raw: RawChunk = serde_json::from_str(event.get())?;
        let mut chunk = Self {
            usage: raw.usage.and_then(read_usage),
            error: raw.error.map(|error| ErrorReport::read_error(error.get())),
            ..Self::default()
        };
        let choices = raw.choices.unwrap_or_default();
        let first = choices
            .into_iter()
            .find(|choice| choice.index.is_none_or(|index| index.get() == "0"));
        if let Some(choice) = first {
            chunk.finish_reason = choice
                .finish_reason
                .and_then(|reason| serde_json::from_str::<String>(reason.get()).ok())
                .filter(|reason| !reason.is_empty());
            if let Some(delta) = choice.delta.or(choice.message) {
                chunk.text = [delta.content, delta.refusal]
                    .into_iter()
                    .flatten()
                    .flat_map(read_text)
                    .collect();
                let thought = [delta.reasoning_content, delta.reasoning, delta.tool_calls];
                chunk.is_token = !chunk.text.is_empty()
                    || thought
                        .into_iter()
                        .flatten()
                        .any(|part| !matches!(part.get(), "\"\"" | "[]"));
            }
        }
        Ok(chunk)
    }
}

#[derive(Deserialize)]
struct RawChunk<'a> {
    #[serde(borrow)]
    choices: Option<Vec<RawChoice<'a>>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawChoice<'a> {
    #[serde(borrow)]
    index: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<RawDelta<'a>>,
    /// Of a server that answers in one piece although a stream was asked for.
    #[serde(borrow)]
    message: Option<RawDelta<'a>>,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawDelta<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    /// What OpenAI's models say instead of content when they decline.
    #[serde(borrow)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning_content: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_calls: Option<&'a RawValue>,
}

/// A string, or a list of parts of which those of type `text` count.
fn read_text(raw: &RawValue) -> Vec<u8> {
    #[derive(Deserialize)]
    struct Part<'a> {
        #[serde(rename = "type", borrow)]
        kind: Option<&'a RawValue>,
        #[serde(borrow)]
        text: Option<&'a RawValue>,
    }

    if let Ok(Wtf8(text)) = serde_json::from_str(raw.get()) {
        return text;
    }
    let parts: Vec<Part> = serde_json::from_str(raw.get()).unwrap_or_default();
    parts
        .into_iter()
        .filter(|part| part.kind.is_none_or(|kind| kind.get() == "\"text\""))
        .filter_map(|part| serde_json::from_str::<Wtf8>(part.text?.get()).ok())
        .flat_map(|Wtf8(text)| text)
        .collect()
}

/// A JSON string whose halves of surrogate pairs survive: serde_json refuses them in a `String`
/// and hands them over as bytes.
struct Wtf8(Vec<u8>);

impl<'de> Deserialize<'de> for Wtf8 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Wtf8;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Wtf8, E> {
                Ok(Wtf8(bytes.to_vec()))
            }
        }

        deserializer.deserialize_bytes(Visitor)
    }
}

fn read_usage(raw: &RawValue) -> Option<TokenUsage> {
    #[derive(Deserialize)]
    struct RawUsage {
        prompt_tokens: Option<i64>,
        completion_tokens: Option<i64>,
        total_tokens: Option<i64>,
    }

    let usage: RawUsage = serde_json::from_str(raw.get()).ok()?;
    let count = |tokens: i64| i32::try_from(tokens.max(0)).unwrap_or(i32::MAX);
    let prompt_tokens = count(usage.prompt_tokens?);
    let completion_tokens = count(usage.completion_tokens.unwrap_or(0));
    let total_tokens = usage
        .total_tokens
        .map_or_else(|| prompt_tokens.saturating_add(completion_tokens), count);
    Some(TokenUsage {
        prompt_tokens,
        completion_tokens,
        total_tokens,
    })
}

/// What a provider says of a failure. Its words are for the log alone.
#[derive(Debug, Default)]
pub(super) struct ErrorReport {
    /// An HTTP status, where the report holds one.
    pub(super) status: Option<u16>,
    pub(super) code: String,
    pub(super) kind: String,
    pub(super) message: String,
}

impl ErrorReport {
    /// The body of a refusal: `{"error": {…}}`, `{"error": "…"}`, the error's fields at the top,
    /// `{"detail": …}`, or any text.
    pub(super) fn read_body(body: &str) -> Self {
        let fields = serde_json::from_str::<Value>(body).unwrap_or_default();
        match fields {
            Value::Object(mut fields) => match fields.remove("error") {
                Some(error) if !error.is_null() => Self::from_value(&error),
                _ => Self::from_value(&Value::Object(fields)),
            },
            _ => Self {
                message: body.to_owned(),
                ..Self::default()
            },
        }
    }

    fn read_error(error: &str) -> Self {
        // A half of a surrogate pair in the words makes them unreadable; they are for the log.
        Self::from_value(&serde_json::from_str(error).unwrap_or_default())
    }

    fn from_value(error: &Value) -> Self {
        if let Some(message) = error.as_str() {
            return Self {
                message: message.to_owned(),
                ..Self::default()
            };
        }
        let detail = &error["detail"];
        let message = error["message"]
            .as_str()
            .or_else(|| detail.as_str())
            // FastAPI lists what it finds wrong; the rest of an entry repeats the request.
            .or_else(|| detail[0]["msg"].as_str());
        let code = &error["code"];
        Self {
            status: code
                .as_u64()
                .or_else(|| code.as_str()?.parse().ok())
                .and_then(|code| u16::try_from(code).ok()),
            code: code.as_str().unwrap_or_default().to_owned(),
            kind: error["type"].as_str().unwrap_or_default().to_owned(),
            message: message.unwrap_or_default().to_owned(),
        }
    }
}
