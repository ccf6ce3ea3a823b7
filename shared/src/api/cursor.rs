//! Where the next page begins. A cursor holds sort keys only: the partition is always the caller's own, so that even a forged
//! one could move within the caller's data and nowhere else. It is sealed, so that none can be forged, and none be used for
//! another list than its own.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::{ids::TenantId, store::Key};

/// Bytes of the seal: nobody gets to try 2⁶⁴ times.
const SEAL_BYTES: usize = 8;
/// Longer ones were never given.
const TEXT_BYTES_MAX: usize = 1000;

/// The cursors of one tenant and one question.
pub(super) struct Cursors<'a> {
    tenant: &'a TenantId,
    seal: Option<Hmac<Sha256>>,
}

impl<'a> Cursors<'a> {
    /// Sealed with the deployment's `key`; `question` is the list with all that narrows it down.
    pub(super) fn new(key: &str, tenant: &'a TenantId, question: &str) -> Self {
        let mut seal = Hmac::new_from_slice(key.as_bytes()).ok();
        if let Some(seal) = &mut seal {
            seal.update(format!("{tenant}\n{question}\n").as_bytes());
        }
        Self { tenant, seal }
    }

    /// As text for the caller.
    pub(super) fn encode(&self, sort: &str, key: &Key) -> String {
        let kind = key.pk.strip_prefix(&format!("{}#", self.tenant)).unwrap_or_default();
        let text = format!("{sort}\n{kind}\n{}", key.sk);
        let mut bytes = self.seal_of(text.as_bytes()).unwrap_or_default();
        bytes.extend(text.as_bytes());
        BASE64.encode(bytes)
    }

    /// Reverses [`Self::encode`]; `None` where the text isn't such a cursor.
    pub(super) fn decode(&self, cursor: &str) -> Option<(String, Key)> {
        if cursor.len() > TEXT_BYTES_MAX {
            return None;
        }
        let bytes = BASE64.decode(cursor).ok()?;
        let (given, text) = bytes.split_at_checked(SEAL_BYTES)?;
        // Not in constant time: whoever learns a seal by that may read on in a list that is the caller's own.
        if given != self.seal_of(text)? {
            return None;
        }
        let mut parts = std::str::from_utf8(text).ok()?.splitn(3, '\n');
        let (sort, kind, sk) = (parts.next()?, parts.next()?, parts.next()?);
        Some((sort.to_owned(), Key::of(self.tenant, kind, sk)))
    }

    fn seal_of(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut seal = self.seal.clone()?;
        seal.update(text);
        seal.finalize().into_bytes().get(..SEAL_BYTES).map(<[u8]>::to_vec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_counts_for_its_tenant_and_list_only() {
        let (a, b) = (TenantId::parse("a").unwrap(), TenantId::parse("b").unwrap());
        let key = Key::of(&a, "int", "int_1");
        let own = Cursors::new("k", &a, "list");
        let cursor = own.encode("2026#x", &key);
        assert_eq!(own.decode(&cursor), Some(("2026#x".into(), key)));
        for other in [Cursors::new("k", &b, "list"), Cursors::new("k", &a, "others"), Cursors::new("l", &a, "list")] {
            assert_eq!(other.decode(&cursor), None);
        }
        let forged = |at: usize| {
            let mut bytes = BASE64.decode(&cursor).unwrap();
            bytes[at] ^= 1;
            BASE64.encode(bytes)
        };
        for bad in ["", "!", "AAAA", &"A".repeat(2000), &forged(0), &forged(SEAL_BYTES), &forged(SEAL_BYTES + 9)] {
            assert_eq!(own.decode(bad), None, "{bad:.20}");
        }
    }
}
