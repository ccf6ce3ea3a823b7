//! Where the next page begins. The cursor holds sort keys only: the partition is always the caller's own, so that a forged
//! cursor can move within the caller's data and nowhere else.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};

use crate::{ids::TenantId, store::Key};

/// As text for the caller.
pub(crate) fn encode(sort: &str, key: &Key, tenant: &TenantId) -> String {
    let kind = key.pk.strip_prefix(&format!("{tenant}#")).unwrap_or_default();
    BASE64.encode(format!("{sort}\n{kind}\n{}", key.sk))
}

/// Reverses [`encode`] for the same tenant; `None` where the text isn't a cursor.
pub(crate) fn decode(cursor: &str, tenant: &TenantId) -> Option<(String, Key)> {
    if cursor.len() > 1000 {
        return None;
    }
    let text = String::from_utf8(BASE64.decode(cursor).ok()?).ok()?;
    let mut parts = text.splitn(3, '\n');
    let (sort, kind, sk) = (parts.next()?, parts.next()?, parts.next()?);
    if sort.is_empty() || kind.is_empty() || sk.is_empty() {
        return None;
    }
    Some((sort.to_owned(), Key::of(tenant, kind, sk)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_never_leaves_its_tenant() {
        let (a, b) = (TenantId::parse("a").unwrap(), TenantId::parse("b").unwrap());
        let key = Key::of(&a, "int", "int_1");
        let cursor = encode("2026#x", &key, &a);
        assert_eq!(decode(&cursor, &a), Some(("2026#x".into(), key)));
        assert_eq!(decode(&cursor, &b).map(|(_, key)| key.pk), Some("b#int".into()));
        for bad in ["", "!", "AAAA", &"A".repeat(2000)] {
            assert_eq!(decode(bad, &a), None, "{bad:.20}");
        }
    }
}
