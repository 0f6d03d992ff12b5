//! The names of everything that has a limit, as `extensions.limit` of a `LIMIT_EXCEEDED` shows
//! them. `docs/limits.md` has a heading for each; what they allow is not known here.

macro_rules! limits {
    ($($variant:ident: $name:literal,)*) => {
        /// What an answer, a document, a request, a connection or a user has too much of.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Limit {
            $($variant,)*
        }

        impl Limit {
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

limits! {
    BodyBytes: "bodyBytes",
    Batch: "batch",
    RequestSeconds: "requestSeconds",
    Tokens: "tokens",
    Definitions: "definitions",
    Fields: "fields",
    Depth: "depth",
    Aliases: "aliases",
    Directives: "directives",
    Cost: "cost",
    RootFields: "rootFields",
    Nesting: "nesting",
    Brackets: "brackets",
    NameBytes: "nameBytes",
    IntrospectionLists: "introspectionLists",
    SocketOperations: "socketOperations",
    Connections: "connections",
    InFlightBytes: "inFlightBytes",
    AnswerBytes: "answerBytes",
    UnfinishedReplies: "unfinishedReplies",
    ApiKeys: "apiKeys",
}

impl Limit {
    /// Where it is documented: a page of the repository, and the heading on it.
    pub fn documentation(self) -> String {
        format!("docs/limits.md#{}", self.name().to_lowercase())
    }
}
