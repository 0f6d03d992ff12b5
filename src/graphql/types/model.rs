use async_graphql::SimpleObject;

/// A language model that replies can be written by.
#[derive(SimpleObject)]
pub struct Model {
    /// What `model` arguments take.
    pub name: String,
    /// Whether conversations use it that name no model of their own.
    pub is_default: bool,
}
