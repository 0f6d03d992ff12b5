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

impl Media {
    pub fn content_type(self) -> &'static str {
        match self {
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
            Self::Json => "application/json; charset=utf-8",
        }
    }

    fn essence(self) -> &'static str {
        match self {
            Self::GraphqlResponse => "application/graphql-response+json",
            Self::Json => "application/json",
        }
    }
}

/// What the client likes best; `None`: neither. A stream is never chosen here: clients list
/// `text/event-stream` with every query, and mean it for subscriptions.
pub(super) fn negotiate(headers: &HeaderMap) -> Option<Media> {
    let values: Vec<&str> = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    if values.iter().all(|value| value.trim().is_empty()) {
        // Clients that say nothing are older than the newer type.
        return Some(Media::Json);
    }
    let ranges: Vec<Range> = values
        .iter()
        .flat_map(|value| split(value))
        .filter_map(Range::parse)
        .collect();
    // Of two that are liked as much, the one that is named more precisely; of two that are named,
    // the newer; of two that are not, the older.
    let json = liking(&ranges, Media::Json);
    let newer = liking(&ranges, Media::GraphqlResponse);
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

/// The quality of the range that names the type most precisely; `None`: it is not wanted.
fn liking(ranges: &[Range], media: Media) -> Option<(u16, Precision)> {
    ranges
        .iter()
        .filter_map(|range| Some((range.precision(media)?, range.quality)))
        .max()
        .filter(|(_, quality)| *quality > 0)
        .map(|(precision, quality)| (quality, precision))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Precision {
    Anything,
    Application,
    Named,
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

    /// How precisely the range names this type; `None`: it does not.
    fn precision(&self, media: Media) -> Option<Precision> {
        let charset = self.media.get_param(mime::CHARSET);
        if charset.is_some_and(|charset| charset != mime::UTF_8) {
            return None;
        }
        match self.media.essence_str() {
            "*/*" => Some(Precision::Anything),
            "application/*" => Some(Precision::Application),
            essence if essence == media.essence() => Some(Precision::Named),
            _ => None,
        }
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

    use super::{Media, is_json, negotiate};

    fn accept(value: &'static str) -> Option<Media> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(value));
        negotiate(&headers)
    }

    #[test]
    fn the_best_liked_of_the_two_types_is_chosen() {
        use Media::{GraphqlResponse, Json};
        const APOLLO: &str = "application/graphql-response+json,application/json;q=0.9";
        const URQL: &str = "application/graphql-response+json, application/graphql+json, \
                            application/json, text/event-stream, multipart/mixed";

        assert_eq!(negotiate(&HeaderMap::new()), Some(Json));
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
            assert_eq!(accept(value), expected, "{value}");
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
