//! Where the next page begins, as text for the operator. Who may invoke the function may see all that a cursor could lead to,
//! so it isn't sealed.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde::{Serialize, de::DeserializeOwned};

use super::{AdministerError, Order};
use crate::integration::FieldError;

/// As text.
pub(super) fn encode(place: &impl Serialize) -> String {
    BASE64.encode(serde_json::to_vec(place).unwrap_or_default())
}

/// The order's cursor.
pub(super) fn decode<T: DeserializeOwned>(order: &Order) -> Result<Option<T>, AdministerError> {
    let Some(text) = &order.cursor else { return Ok(None) };
    let place = BASE64.decode(text).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let message = "is no `next_cursor` that this action answered; begin again without one";
    place.map(Some).ok_or_else(|| AdministerError::Invalid(vec![FieldError::new("cursor", message)]))
}
