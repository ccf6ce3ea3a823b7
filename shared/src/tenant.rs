//! The one way to a tenant's data.

use crate::ids::TenantId;

/// Says that the caller may act for this tenant. Everything that reads or writes a tenant's data takes one.
///
/// Made only by authentication: of a webhook by its signature ([`crate::receive`]), of an API caller by the authorizer
/// ([`crate::api`]), of an operator by IAM ([`crate::provision`]), or of a message that we ourselves queued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantContext(TenantId);

impl TenantContext {
    /// For the authenticating stages of this crate only.
    pub(crate) fn authenticated(tenant: TenantId) -> Self {
        Self(tenant)
    }

    /// The tenant.
    #[must_use]
    pub fn tenant(&self) -> &TenantId {
        &self.0
    }
}
