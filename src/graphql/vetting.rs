//! Whether a document could run, found out without running it.

use std::sync::Arc;

use async_graphql::{
    Request, ServerError, ValidationResult, async_trait,
    extensions::{Extension, ExtensionContext, ExtensionFactory, NextValidation},
};

use super::{Schema, guard::Guard};

/// Holds documents against the limits and the schema.
pub struct Vetting {
    guard: Guard,
    schema: Schema,
}

impl Vetting {
    pub fn new(guard: Guard) -> Self {
        Self {
            guard,
            schema: super::builder().extension(EndAfterValidation).finish(),
        }
    }

    /// The first thing that is wrong with the document.
    pub async fn check(&self, source: &str) -> Result<(), ServerError> {
        let document = self.guard.vet(source)?;
        let mut request = Request::new(source);
        request.set_parsed_query(document);
        let response = self.schema.execute(request).await;
        match response.errors.into_iter().next() {
            Some(error) if error.message == VALID => Ok(()),
            Some(error) => Err(error),
            // The extension ends every request with an error.
            None => Ok(()),
        }
    }
}

/// What the request ends with when validation has nothing to say. No message of the library is empty.
const VALID: &str = "";

struct EndAfterValidation;

impl ExtensionFactory for EndAfterValidation {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_trait::async_trait]
impl Extension for EndAfterValidation {
    async fn validation(
        &self,
        context: &ExtensionContext<'_>,
        next: NextValidation<'_>,
    ) -> Result<ValidationResult, Vec<ServerError>> {
        next.run(context).await?;
        Err(vec![ServerError::new(VALID, None)])
    }
}
