//! What Kubernetes takes as a name or a label: one bad word would make it refuse a whole NetworkPolicy.
//!
//! <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>

/// Whether a namespace can be called so (RFC 1123 label).
pub(super) fn is_dns_label(text: &str) -> bool {
    is_word(text, 63, |c| c == b'-', false)
}

/// Whether an AppIdentity can be called so: a DNS label of at most 58 that begins with a letter.
pub(super) fn is_app_name(text: &str) -> bool {
    text.len() <= 58 && is_dns_label(text) && text.starts_with(|c: char| c.is_ascii_lowercase())
}

/// Whether a label can have this value.
pub(super) fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_word(text, 63, is_label_mark, true)
}

/// Whether a label can have this key: a name, after a DNS subdomain and a slash or alone.
pub(super) fn is_label_key(text: &str) -> bool {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    let is_subdomain = |prefix: &str| {
        prefix.len() <= 253
            && prefix.split('.').all(|label| is_word(label, 253, |c| c == b'-', false))
    };
    is_word(name, 63, is_label_mark, true) && prefix.is_none_or(is_subdomain)
}

fn is_label_mark(c: u8) -> bool {
    matches!(c, b'-' | b'_' | b'.')
}

/// Letters and digits, with marks between them.
fn is_word(text: &str, longest: usize, is_mark: fn(u8) -> bool, upper: bool) -> bool {
    let is_plain =
        |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || (upper && c.is_ascii_uppercase());
    let bytes = text.as_bytes();
    bytes.len() <= longest
        && bytes.first().is_some_and(|c| is_plain(*c))
        && bytes.last().is_some_and(|c| is_plain(*c))
        && bytes.iter().all(|c| is_plain(*c) || is_mark(*c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_kubernetes_takes() {
        for label in ["a", "0", "prj-shop", &"a".repeat(63)] {
            assert!(is_dns_label(label), "{label}");
        }
        for label in ["", "-a", "a-", "A", "a.b", "a_b", &"a".repeat(64)] {
            assert!(!is_dns_label(label), "{label}");
        }
        assert!(is_app_name("orders") && !is_app_name("0rders") && !is_app_name(&"a".repeat(59)));
        assert!(is_label_value("") && is_label_value("A.b_c-9") && !is_label_value("a b"));
        for key in ["app", "app.kubernetes.io/name", "A_b"] {
            assert!(is_label_key(key), "{key}");
        }
        for key in ["", "/app", "a/", "a/b/c", "A.io/b", "a..b/c", "a b"] {
            assert!(!is_label_key(key), "{key}");
        }
    }
}
