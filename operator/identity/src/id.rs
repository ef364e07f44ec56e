//! A SPIFFE id as Sentry writes it: `spiffe://<trust domain>/ns/<namespace>/<name>`. Compared by its parts, never as text.

use std::fmt;
use std::str::FromStr;

/// Who somebody is.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SpiffeId {
    domain: String,
    namespace: String,
    name: String,
}

/// What is no SPIFFE id of ours.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("\"{0}\" is not of the form spiffe://<trust domain>/ns/<namespace>/<name>")]
pub struct InvalidId(String);

impl SpiffeId {
    /// The id of these parts.
    ///
    /// # Errors
    /// When a part is empty, or holds what no id may hold.
    pub fn new(domain: &str, namespace: &str, name: &str) -> Result<Self, InvalidId> {
        let id = Self { domain: domain.into(), namespace: namespace.into(), name: name.into() };
        if is_domain(domain) && is_segment(namespace) && is_segment(name) {
            Ok(id)
        } else {
            Err(InvalidId(id.to_string()))
        }
    }

    /// The trust domain.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name: an app id, or that of a part of the control plane.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// <https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md#2-spiffe-identity>
fn is_domain(text: &str) -> bool {
    let fits =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    (1..=255).contains(&text.len()) && text.bytes().all(fits)
}

fn is_segment(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !matches!(text, "" | "." | "..") && text.len() <= 255 && text.bytes().all(fits)
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/ns/{}/{}", self.domain, self.namespace, self.name)
    }
}

impl FromStr for SpiffeId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId(text.chars().take(300).collect());
        let rest = text.strip_prefix("spiffe://").ok_or_else(invalid)?;
        let parts: Vec<&str> = rest.split('/').collect();
        let [domain, "ns", namespace, name] = parts[..] else { return Err(invalid()) };
        Self::new(domain, namespace, name).map_err(|_| invalid())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_as_it_is_written() {
        let text = "spiffe://eu.example.com/ns/prj-shop/orders";
        let id: SpiffeId = text.parse().unwrap();
        assert_eq!(
            (id.domain(), id.namespace(), id.name()),
            ("eu.example.com", "prj-shop", "orders")
        );
        assert_eq!(id.to_string(), text);
    }

    #[test]
    fn what_only_looks_like_an_id_is_none() {
        for text in [
            "",
            "orders",
            "https://eu.example.com/ns/prj-shop/orders",
            "spiffe://eu.example.com",
            "spiffe:///ns/prj-shop/orders",
            "spiffe://EU.example.com/ns/prj-shop/orders",
            "spiffe://eu.example.com:443/ns/prj-shop/orders",
            "spiffe://user@eu.example.com/ns/prj-shop/orders",
            "spiffe://eu.example.com/ns/prj-shop/orders/",
            "spiffe://eu.example.com/ns/prj-shop/orders/more",
            "spiffe://eu.example.com/ns//orders",
            "spiffe://eu.example.com/ns/prj-shop/..",
            "spiffe://eu.example.com/ns/prj-shop/or%64ers",
            "spiffe://eu.example.com/ns/prj-shop/orders?a=b",
            "spiffe://eu.example.com/sa/prj-shop/orders",
        ] {
            assert!(text.parse::<SpiffeId>().is_err(), "{text}");
        }
    }
}
