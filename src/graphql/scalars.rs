use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};
use chrono::{SecondsFormat, Utc};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTime(pub chrono::DateTime<Utc>);

/// A moment as RFC 3339 has it, in UTC with milliseconds: `2026-01-31T12:00:00.000Z`.
#[Scalar(
    name = "DateTime",
    specified_by_url = "https://scalars.graphql.org/andimarek/date-time.html"
)]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => chrono::DateTime::parse_from_rfc3339(text)
                .map(|moment| Self(moment.with_timezone(&Utc)))
                .map_err(|_| {
                    InputValueError::custom(
                        "must be a moment as in RFC 3339, for example 2026-01-31T12:00:00.000Z",
                    )
                }),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

/// The largest number that a JavaScript number holds exactly, as every JSON reader does.
const LARGEST_SAFE: i64 = (1 << 53) - 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SafeInt(pub i64);

/// A whole number up to 2^53 - 1, as a JSON number: more than an Int holds, and no more than every
/// JSON reader can.
#[Scalar(name = "SafeInt")]
impl ScalarType for SafeInt {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::Number(number) = &value else {
            return Err(InputValueError::expected_type(value));
        };
        number
            .as_i64()
            .filter(|number| (-LARGEST_SAFE..=LARGEST_SAFE).contains(number))
            .map(Self)
            .ok_or_else(|| InputValueError::custom("must be a whole number up to 2^53 - 1"))
    }

    /// What is too large is shown as the largest.
    fn to_value(&self) -> Value {
        Value::from(self.0.clamp(-LARGEST_SAFE, LARGEST_SAFE))
    }
}
