//! Which media type a request has, and which its answer shall have.

use http::{
    HeaderMap,
    header::{ACCEPT, CONTENT_TYPE},
};
use mime::Mime;

/// The two media types of an answer that is not a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    /// `application/graphql-response+json`: the status says what became of the operation.
    GraphqlResponse,
    /// `application/json`: any answer to a well-formed request is 200.
    Json,
}

/// The two media types of an answer that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `text/event-stream`: server-sent events, by the protocol of graphql-sse.
    Events,
    /// `multipart/mixed;subscriptionSpec=1.0`, the protocol of Apollo's clients.
    Parts,
}

impl Media {
    pub fn content_type(self) -> &'static str {
        match self {
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
            Self::Json => "application/json; charset=utf-8",
        }
    }

    fn wanted(self, range: &Mime) -> Option<Precision> {
        let essence = match self {
            Self::GraphqlResponse => "application/graphql-response+json",
            Self::Json => "application/json",
        };
        precision(range, mime::APPLICATION.as_str(), essence)
    }
}

impl Form {
    /// Parts are for those who name them by their version: what else `multipart/mixed` may hold,
    /// such as deferred fragments, is not ours.
    fn wanted(self, range: &Mime) -> Option<Precision> {
        match self {
            Self::Events => precision(range, mime::TEXT.as_str(), "text/event-stream"),
            Self::Parts => (range.essence_str() == "multipart/mixed"
                && range
                    .get_param("subscriptionSpec")
                    .is_some_and(|version| version == "1.0"))
            .then_some(Precision::Named),
        }
    }
}

/// What the client takes, in each of the two kinds of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Acceptable {
    pub single: Option<Media>,
    pub stream: Option<Form>,
}

impl Acceptable {
    pub fn of(headers: &HeaderMap) -> Self {
        let values: Vec<&str> = headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        if values.iter().all(|value| value.trim().is_empty()) {
            // Clients that say nothing are older than the newer type.
            return Self {
                single: Some(Media::Json),
                stream: Some(Form::Events),
            };
        }
        let ranges: Vec<Range> = values
            .iter()
            .flat_map(|value| split(value))
            .filter_map(Range::parse)
            .collect();
        Self {
            single: single(&ranges),
            stream: stream(&ranges),
        }
    }
}

/// Of two that are liked as much, the one that is named more precisely; of two that are named,
/// the newer; of two that are not, the older.
fn single(ranges: &[Range]) -> Option<Media> {
    let json = liking(ranges, |range| Media::Json.wanted(range));
    let newer = liking(ranges, |range| Media::GraphqlResponse.wanted(range));
    match (json, newer) {
        (None, None) => None,
        (Some(_), None) => Some(Media::Json),
        (None, Some(_)) => Some(Media::GraphqlResponse),
        (Some(json), Some(newer)) => {
            let tie = json == newer && newer.1 == Precision::Named;
            Some(if newer > json || tie {
                Media::GraphqlResponse
            } else {
                Media::Json
            })
        }
    }
}

/// Of two that are liked as much, the one that says how a stream ends.
fn stream(ranges: &[Range]) -> Option<Form> {
    let events = liking(ranges, |range| Form::Events.wanted(range));
    let parts = liking(ranges, |range| Form::Parts.wanted(range));
    match (events, parts) {
        (None, None) => None,
        (events, parts) if parts > events => Some(Form::Parts),
        _ => Some(Form::Events),
    }
}

/// The quality of the range that names a type most precisely; `None`: it is not wanted.
fn liking(
    ranges: &[Range],
    wanted: impl Fn(&Mime) -> Option<Precision>,
) -> Option<(u16, Precision)> {
    ranges
        .iter()
        .filter_map(|range| Some((wanted(&range.media)?, range.quality)))
        .max()
        .filter(|(_, quality)| *quality > 0)
        .map(|(precision, quality)| (quality, precision))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Precision {
    Anything,
    Family,
    Named,
}

/// How precisely the range names a type in UTF-8; `None`: it does not.
fn precision(range: &Mime, family: &str, essence: &str) -> Option<Precision> {
    let charset = range.get_param(mime::CHARSET);
    if charset.is_some_and(|charset| charset != mime::UTF_8) {
        return None;
    }
    if range.essence_str() == essence {
        return Some(Precision::Named);
    }
    if range.subtype() != mime::STAR {
        return None;
    }
    if range.type_() == mime::STAR {
        Some(Precision::Anything)
    } else {
        (range.type_() == family).then_some(Precision::Family)
    }
}

struct Range {
    media: Mime,
    /// In thousandths.
    quality: u16,
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let media: Mime = text.trim().parse().ok()?;
        let quality = match media.get_param("q") {
            None => 1000,
            Some(value) => quality(value.as_str())?,
        };
        Some(Self { media, quality })
    }
}

/// RFC 9110, 12.4.2: 0 or 1, with at most three decimals.
fn quality(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{decimals:0<3}").parse().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1000),
        _ => None,
    }
}

/// Commas inside quoted parameters do not divide.
fn split(value: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    value.split(move |character| {
        quoted ^= character == '"';
        character == ',' && !quoted
    })
}

/// Whether the body is JSON by its own account. Anything else is refused: a browser sends it
/// across origins without asking first.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let Some(media) = value
        .to_str()
        .ok()
        .and_then(|value| value.parse::<Mime>().ok())
    else {
        return false;
    };
    media.essence_str() == "application/json"
        && media
            .get_param(mime::CHARSET)
            .is_none_or(|charset| charset == mime::UTF_8)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header};

    use super::{Acceptable, Form, Media, is_json};

    fn accept(value: &'static str) -> Acceptable {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(value));
        Acceptable::of(&headers)
    }

    #[test]
    fn the_best_liked_of_the_two_types_is_chosen() {
        use Media::{GraphqlResponse, Json};
        const APOLLO: &str = "application/graphql-response+json,application/json;q=0.9";
        const URQL: &str = "application/graphql-response+json, application/graphql+json, \
                            application/json, text/event-stream, multipart/mixed";

        assert_eq!(Acceptable::of(&HeaderMap::new()).single, Some(Json));
        for (value, expected) in [
            ("", Some(Json)),
            ("*/*", Some(Json)),
            ("application/*", Some(Json)),
            ("application/json", Some(Json)),
            ("application/json; charset=utf-8", Some(Json)),
            ("application/json; charset=UTF-8", Some(Json)),
            ("application/graphql-response+json", Some(GraphqlResponse)),
            ("APPLICATION/GraphQL-Response+JSON", Some(GraphqlResponse)),
            (APOLLO, Some(GraphqlResponse)),
            (URQL, Some(GraphqlResponse)),
            (
                "application/graphql-response+json;q=0.8,application/json;q=0.9",
                Some(Json),
            ),
            (
                "application/json, application/graphql-response+json",
                Some(GraphqlResponse),
            ),
            (
                "application/graphql-response+json, */*;q=0.1",
                Some(GraphqlResponse),
            ),
            ("application/graphql-response+json;q=0, */*", Some(Json)),
            ("application/json;q=0, */*", Some(GraphqlResponse)),
            ("application/json;q=0", None),
            ("application/json;q=0.0001", None),
            ("text/event-stream, multipart/mixed", None),
            ("text/html", None),
            ("application/json; charset=latin1", None),
            (
                "multipart/mixed;boundary=\"a,b\", application/json",
                Some(Json),
            ),
            ("nonsense, application/json", Some(Json)),
        ] {
            assert_eq!(accept(value).single, expected, "{value}");
        }
    }

    #[test]
    fn a_stream_is_of_the_form_that_the_client_names() {
        use Form::{Events, Parts};
        const APOLLO: &str = "multipart/mixed;boundary=graphql;subscriptionSpec=1.0,\
                              application/graphql-response+json,application/json;q=0.9";

        assert_eq!(Acceptable::of(&HeaderMap::new()).stream, Some(Events));
        for (value, expected) in [
            ("text/event-stream", Some(Events)),
            ("text/event-stream; charset=utf-8", Some(Events)),
            ("text/event-stream, multipart/mixed", Some(Events)),
            ("*/*", Some(Events)),
            ("text/*", Some(Events)),
            (APOLLO, Some(Parts)),
            ("multipart/mixed; subscriptionSpec=\"1.0\"", Some(Parts)),
            (
                "multipart/mixed;subscriptionSpec=1.0, text/event-stream",
                Some(Events),
            ),
            (
                "multipart/mixed;subscriptionSpec=1.0, text/event-stream;q=0.5",
                Some(Parts),
            ),
            ("multipart/mixed;deferSpec=20220824", None),
            ("multipart/mixed;subscriptionSpec=2.0", None),
            ("multipart/mixed", None),
            ("text/event-stream;q=0, */*", None),
            ("application/json", None),
        ] {
            assert_eq!(accept(value).stream, expected, "{value}");
        }
    }

    #[test]
    fn only_json_in_utf_8_is_a_body() {
        let content_type = |value| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(value));
            is_json(&headers)
        };
        assert!(content_type("application/json"));
        assert!(content_type("Application/JSON;charset=UTF-8"));
        assert!(content_type("application/json; charset=\"utf-8\""));
        assert!(!is_json(&HeaderMap::new()));
        for bad in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/graphql",
            "application/json; charset=utf-16",
            "application/json2",
            "",
        ] {
            assert!(!content_type(bad), "{bad}");
        }
    }
}
