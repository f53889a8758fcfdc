//! One thing that was logged, as observers get it: complete, owned, and already shown as text where it has to be.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::{self, Write};
use std::time::SystemTime;

use tracing::Level;
use tracing::field::{Field, Visit};

use super::context::{Context, context, wall_clock};
use super::text;
use crate::civil::DateTime;
use crate::panic::guard;

/// One thing that was logged.
///
/// Its `Display` is its [text](Self::to_text) without the time.
///
/// ```
/// use marline_core::log::{Event, Level};
///
/// let event = Event::new(Level::INFO, "shop", "sold").with("what", "a red hat").with("pieces", 2);
/// assert_eq!(event.to_string(), r#"INFO shop: sold what="a red hat" pieces=2"#);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Event {
    /// When: wall-clock time, in a simulation that of the simulated host.
    #[doc(alias = "log_time")]
    pub time: SystemTime,
    /// How bad it is.
    #[doc(alias = "log_level")]
    pub level: Level,
    /// Where it comes from, such as `marline`; the target of `tracing`.
    #[doc(alias = "log_namespace")]
    pub target: Cow<'static, str>,
    /// What kind of event it is, the same each time; the engine's are listed in `docs/design/logging.md`. Those that were given no name have
    /// their place in the source.
    pub name: &'static str,
    /// Its text.
    #[doc(alias = "log_format")]
    pub message: String,
    /// Its other fields, by name, in their order.
    pub fields: Vec<(&'static str, Value)>,
    /// The callback that it was logged in.
    #[doc(alias = "log_source")]
    pub context: Option<Context>,
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// Another number.
    Float(f64),
    /// Anything else. Errors are here with what caused them.
    Text(String),
}

impl Event {
    /// An event of this moment, in the present [`context`], without fields.
    pub fn new(
        level: Level,
        target: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            time: wall_clock(),
            level,
            target: target.into(),
            name: "",
            message: message.into(),
            fields: Vec::new(),
            context: context(),
        }
    }

    /// What was given to one of `tracing`'s macros. Shows the user's values, each at most once; one that panics or fails is told of in its place.
    pub(crate) fn capture(event: &tracing::Event<'_>) -> Self {
        let metadata = event.metadata();
        let mut captured = Self::new(*metadata.level(), metadata.target(), String::new());
        captured.name = metadata.name();
        event.record(&mut Fields(&mut captured));
        captured
    }

    /// Adds a field.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// The value of a field.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The value of a field as text.
    pub fn field(&self, name: &str) -> Option<Cow<'_, str>> {
        self.value(name).map(|value| match value {
            Value::Text(text) => Cow::Borrowed(text.as_str()),
            other => Cow::Owned(other.to_string()),
        })
    }

    /// Its text for people: time (UTC), level, target, message, fields, context, such as
    ///
    /// ```text
    /// 2026-11-21T15:00:00+00:00 WARN shop: out of stock what=hat [Till#7.0 192.0.2.1:5000]
    /// ```
    ///
    /// Further lines of the message begin with a tab. Control characters and those that change the direction of writing are escaped, and a
    /// value with spaces, quotes or backslashes is quoted: whatever a peer sends can neither forge a line or a field nor reach a terminal as a command.
    #[doc(alias = "eventAsText")]
    #[doc(alias = "formatEventAsClassicLogText")]
    pub fn to_text(&self) -> String {
        format!("{} {self}", DateTime::from(self.time))
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.level)?;
        text::inline(f, &self.target)?;
        f.write_str(": ")?;
        text::lines(f, &self.message)?;
        for (name, value) in &self.fields {
            write!(f, " {name}=")?;
            match value {
                Value::Text(value) => text::quoted(f, value)?,
                value => write!(f, "{value}")?,
            }
        }
        match &self.context {
            Some(context) => write!(f, " [{context}]"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
        }
    }
}

impl PartialEq<str> for Value {
    /// Whether it is this text.
    fn eq(&self, other: &str) -> bool {
        matches!(self, Self::Text(text) if text == other)
    }
}

macro_rules! from {
    ($($from:ty => $kind:ident,)*) => {$(
        impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$kind(value.into())
            }
        }
    )*};
}

from! {
    bool => Bool,
    i32 => Int,
    i64 => Int,
    u32 => Int,
    u64 => Int,
    f64 => Float,
    &str => Text,
    String => Text,
}

/// Shows something of the user's. Never panics and never fails: what cannot be shown is told of.
pub(super) fn show(write: impl FnOnce(&mut String) -> fmt::Result) -> String {
    let mut text = String::new();
    match guard(|| write(&mut text)) {
        Ok(Ok(())) => text,
        Ok(Err(fmt::Error)) => format!("{text}(cannot be shown)"),
        Err(message) => format!("{text}(cannot be shown: {message})"),
    }
}

/// Writes an error and what caused it in one line. Some errors end with the text of their source: that is not repeated.
fn chain(out: &mut String, error: &(dyn Error + 'static)) -> fmt::Result {
    write!(out, "{error}")?;
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !out.ends_with(&text) {
            write!(out, ": {text}")?;
        }
        cause = error.source();
    }
    Ok(())
}

/// Where the fields of an event go.
struct Fields<'a>(&'a mut Event);

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", value) => self.0.message = value.to_string(),
            (name, value) => self.0.fields.push((name, value)),
        }
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, Value::Float(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::Int(value.into()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Value::Int(value.into()));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.put(field, Value::Int(value));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        let value = i128::try_from(value).map_or_else(|_| value.to_string().into(), Value::Int);
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::Bool(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.put(field, show(|out| chain(out, value)).into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, show(|out| write!(out, "{value:?}")).into());
    }
}
