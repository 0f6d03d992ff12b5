//! A client of an answer that goes on, in either of its forms, that does nothing by itself.

use reqwest::{RequestBuilder, Response, StatusCode, header};
use serde_json::Value;

use super::within;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Events,
    Parts,
}

/// What stands behind each part.
const BOUNDARY: &str = "\r\n--graphql";

impl Form {
    pub const ALL: [Self; 2] = [Self::Events, Self::Parts];

    fn accept(self) -> &'static str {
        match self {
            Self::Events => "text/event-stream",
            Self::Parts => "multipart/mixed;boundary=graphql;subscriptionSpec=1.0",
        }
    }
}

/// One message of a stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    Heartbeat,
    Next(Value),
    Complete,
}

pub struct Stream {
    form: Form,
    response: Response,
    /// What has come and is no whole message yet.
    begun: String,
}

impl Stream {
    /// Asks, and waits until it is heard.
    pub async fn open(request: RequestBuilder, form: Form) -> Self {
        let request = request.header(header::ACCEPT, form.accept());
        let response = within("a stream begins", request.send()).await;
        let response = response.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        let mut stream = Self {
            form,
            response,
            begun: String::new(),
        };
        assert_eq!(stream.next().await, Some(Said::Heartbeat));
        stream
    }

    /// `None`: it was cut.
    pub async fn next(&mut self) -> Option<Said> {
        loop {
            if let Some(said) = self.whole() {
                return Some(said);
            }
            let chunk = within("a stream goes on", self.response.chunk()).await;
            let chunk = chunk.ok()??;
            self.begun += std::str::from_utf8(&chunk).expect("whole characters");
        }
    }

    /// The data of the next message that is not a heartbeat.
    pub async fn data(&mut self) -> Value {
        loop {
            match self.next().await {
                Some(Said::Heartbeat) => {}
                Some(Said::Next(mut payload)) => {
                    assert_eq!(payload.get("errors"), None, "{payload}");
                    return payload["data"].take();
                }
                other => panic!("not a message: {other:?}"),
            }
        }
    }

    /// The first message of what has come, if it is whole.
    fn whole(&mut self) -> Option<Said> {
        match self.form {
            Form::Events => {
                let event = self.until("\n\n")?;
                Some(match event.split_once("\ndata:") {
                    None if event == ":" => Said::Heartbeat,
                    Some(("event: next", data)) => {
                        Said::Next(serde_json::from_str(data).expect("JSON"))
                    }
                    Some(("event: complete", "")) => Said::Complete,
                    _ => panic!("{event:?}"),
                })
            }
            Form::Parts if self.begun == "--\r\n" => Some(Said::Complete),
            Form::Parts => {
                let mut part = self.until(BOUNDARY)?;
                // Before the first part there is nothing.
                if part.is_empty() {
                    part = self.until(BOUNDARY)?;
                }
                let json = part.strip_prefix("\r\ncontent-type: application/json\r\n\r\n");
                let json = json.unwrap_or_else(|| panic!("{part:?}"));
                let mut part: Value = serde_json::from_str(json).expect("JSON");
                Some(match part.get_mut("payload") {
                    Some(payload) => Said::Next(payload.take()),
                    None => Said::Heartbeat,
                })
            }
        }
    }

    fn until(&mut self, end: &str) -> Option<String> {
        let (whole, rest) = self.begun.split_once(end)?;
        let (whole, rest) = (whole.to_owned(), rest.to_owned());
        self.begun = rest;
        Some(whole)
    }
}
