use std::fmt::Write;

use forge_core::{TokenData, TokenId};
use serde_json::{Map, Value};

/// The metadata that a pipeline stores with the token of a step, in one field of `extra`, so that a storage keeps both
/// together. It has the identities of the tokens that the token becomes invalid with. It also has the refresh token.
/// The record's own field for refresh tokens stays empty, because the step's manager would send a refresh token from it.
#[derive(Default)]
pub(super) struct StepMetadata(Map<String, Value>);

const FIELD: &str = "requestforge_pipeline";
const OBTAINED_WITH: &str = "obtained_with";
const REFRESH_TOKEN: &str = "refresh_token";

impl StepMetadata {
    pub(super) fn of(token: &TokenData) -> Self {
        token.extra().get(FIELD).and_then(Value::as_object).cloned().map(Self).unwrap_or_default()
    }

    /// Metadata of a token that dies with these tokens of these steps.
    pub(super) fn obtained_with<'a>(steps: impl Iterator<Item = (&'a str, TokenId)>) -> Self {
        let steps = steps.map(|(step, id)| (step.to_owned(), Value::from(hex(id))));
        Self([(OBTAINED_WITH.to_owned(), Value::Object(steps.collect()))].into_iter().collect())
    }

    pub(super) fn was_obtained_with(&self, step: &str, id: TokenId) -> bool {
        let recorded = self.0.get(OBTAINED_WITH).and_then(|steps| steps.get(step));
        recorded.and_then(Value::as_str) == Some(&*hex(id))
    }

    /// The token with this metadata, which takes the token's refresh token along.
    pub(super) fn attach_to(mut self, token: TokenData) -> TokenData {
        if let Some(refresh_token) = token.refresh_token() {
            self.0.insert(REFRESH_TOKEN.to_owned(), refresh_token.into());
        }
        let mut extra = token.extra().clone();
        // Attack: an issuer could send this field, and so say which tokens the token was obtained with.
        extra.remove(FIELD);
        if !self.0.is_empty() {
            extra.insert(FIELD.to_owned(), Value::Object(self.0));
        }
        token.without_refresh_token().with_extra(extra)
    }
}

/// The token without metadata, and with its refresh token again.
pub(super) fn remove_from(token: &TokenData) -> TokenData {
    let Some(metadata) = token.extra().get(FIELD) else { return token.clone() };
    let mut extra = token.extra().clone();
    extra.remove(FIELD);
    let fetched = token.clone().with_extra(extra);
    match metadata.get(REFRESH_TOKEN).and_then(Value::as_str) {
        Some(refresh_token) => fetched.with_refresh_token(refresh_token),
        None => fetched,
    }
}

fn hex(id: TokenId) -> String {
    id.as_bytes().iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_goes_with_the_token_and_is_taken_off_again() {
        let extra: Map<_, _> = [("tenant".to_owned(), Value::from(7)), (FIELD.to_owned(), "forged".into())]
            .into_iter()
            .collect();
        let token = TokenData::new("t").with_refresh_token("r").with_extra(extra);
        let (one, two) = (TokenId::of("one"), TokenId::of("two"));
        let marked = StepMetadata::obtained_with([("a", one)].into_iter()).attach_to(token.clone());
        assert_eq!(marked.refresh_token(), None);
        let metadata = StepMetadata::of(&marked);
        assert!(metadata.was_obtained_with("a", one));
        assert!(!metadata.was_obtained_with("a", two) && !metadata.was_obtained_with("b", one));

        let fetched = remove_from(&marked);
        assert_eq!(fetched.refresh_token(), Some("r"));
        assert_eq!(fetched.extra().keys().collect::<Vec<_>>(), ["tenant"]);
    }

    #[test]
    fn a_token_that_nothing_is_to_be_noted_of_stays_as_it_is() {
        let token = TokenData::new("t");
        assert_eq!(StepMetadata::default().attach_to(token.clone()), token);
        assert_eq!(remove_from(&token), token);
        assert!(!StepMetadata::of(&token).was_obtained_with("a", token.id()));
    }
}
