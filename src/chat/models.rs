use super::{ChatError, input};
use crate::{
    config::{OfferedModels, ProviderSettings},
    model::Conversation,
};

/// The models that a conversation or a message may name.
#[derive(Debug)]
pub struct Models {
    default: String,
    offered: OfferedModels,
}

impl Models {
    pub fn new(settings: &ProviderSettings) -> Self {
        Self {
            default: settings.default_model.clone(),
            offered: settings.models.clone(),
        }
    }

    pub fn default_model(&self) -> &str {
        &self.default
    }

    /// Those with a name of their own in the settings, the default first.
    pub fn list(&self) -> Vec<&str> {
        let mut models = vec![self.default.as_str()];
        if let OfferedModels::Listed(listed) = &self.offered {
            models.extend(
                listed
                    .iter()
                    .map(String::as_str)
                    .filter(|name| *name != self.default),
            );
        }
        models
    }

    /// What a conversation's replies use that name no model: its own, or the default once its own
    /// is no longer offered.
    pub fn of<'a>(&'a self, conversation: &'a Conversation) -> &'a str {
        match &conversation.model {
            Some(model) if self.offers(model) => model,
            _ => &self.default,
        }
    }

    pub(super) fn check(&self, model: Option<&str>) -> Result<(), ChatError> {
        let Some(model) = model else { return Ok(()) };
        input::check_filled("model", model, input::limits::MODEL)?;
        if self.offers(model) {
            return Ok(());
        }
        Err(ChatError::Invalid {
            argument: "model",
            problem: format!("is not offered; choose one of: {}", self.list().join(", ")),
        })
    }

    fn offers(&self, model: &str) -> bool {
        match &self.offered {
            OfferedModels::Any => true,
            OfferedModels::Listed(listed) => {
                model == self.default || listed.iter().any(|name| name == model)
            }
        }
    }
}
