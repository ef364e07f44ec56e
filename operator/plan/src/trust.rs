//! What vouches for every identity of the region: a root and an issuer of ours, and the bundle that Sentry takes from them.
//!
//! The authority is kept in a Secret that outlives the release and the Region. The bundle, a Secret for Sentry and a
//! ConfigMap for everybody else, is derived from it, so that both hold the very same bytes: Sentry makes an authority
//! of its own where they differ.

use std::sync::Arc;

use catalyst_crds::Region;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde_json::json;

use crate::names::DAPR_NAMESPACE;
use crate::{Datum, Invalid, Keep, Key, Object, Owner, Plan, SecretBytes, region};

/// The concern, as labels and field manager name it.
pub const CONCERN: &str = "trust";

/// The Secret that keeps root and issuer, with their keys. Only the agent reads it.
pub const AUTHORITY: &str = "catalyst-authority";

/// The Secret and the ConfigMap that Dapr reads. The name is Dapr's.
/// <https://github.com/dapr/dapr/blob/v1.18.3/pkg/sentry/server/ca/kube.go>
pub const BUNDLE: &str = "dapr-trust-bundle";

/// The key of the anchors, in the authority, the Secret and the ConfigMap.
pub const ANCHORS_KEY: &str = "ca.crt";

/// The keys of the authority and of Sentry's Secret.
const ROOT_KEY: &str = "ca.key";
const ISSUER: &str = "issuer.crt";
const ISSUER_KEY: &str = "issuer.key";

/// A root and an issuer that it signed, as PEM.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Authority {
    /// The root's certificate: what everybody trusts.
    pub root: String,
    /// The root's key.
    pub root_key: SecretBytes,
    /// The certificate that Sentry signs with.
    pub issuer: String,
    /// Its key.
    pub issuer_key: SecretBytes,
}

impl Authority {
    /// What the authority's Secret holds; `None` where a key is missing.
    pub fn read(mut value: impl FnMut(&str) -> Option<SecretBytes>) -> Option<Self> {
        let text = |bytes: SecretBytes| String::from_utf8(bytes.0.to_vec()).ok();
        Some(Self {
            root: text(value(ANCHORS_KEY)?)?,
            root_key: value(ROOT_KEY)?,
            issuer: text(value(ISSUER)?)?,
            issuer_key: value(ISSUER_KEY)?,
        })
    }
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Validity {
    /// From then on.
    pub from: Timestamp,
    /// Until then.
    pub until: Timestamp,
}

impl Validity {
    /// Whether two thirds of it are over, which is when an issuer is replaced.
    pub fn is_due(&self, now: Timestamp) -> bool {
        let whole = self.until.as_second() - self.from.as_second();
        now.as_second() >= self.from.as_second() + whole / 3 * 2
    }
}

/// What the plan of trust reads.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Every Region of the cluster.
    pub regions: Vec<Arc<Region>>,
    /// The authority, as it stands or as it was just made; `None` where nothing can be made, as in `render`.
    pub authority: Option<Authority>,
    /// What is wrong with the authority that stands.
    pub unreadable: Option<String>,
}

/// The authority and the bundle.
///
/// # Errors
/// `UnreadableAuthority` where what stands is no authority: it is never replaced by itself, as every identity of the
/// region hangs on it.
pub fn plan(region: &Region, world: &World) -> Result<Plan, Invalid> {
    let one = region::the_one(&world.regions);
    if region.spec.dapr.is_none() || one.is_none_or(|one| one.metadata.uid != region.metadata.uid) {
        // Where Dapr is turned off and on again, identities are the same.
        let kept = Key::of::<Secret>(Some(DAPR_NAMESPACE), AUTHORITY);
        return Ok(Plan { keep: Keep::These(vec![kept]), ..Plan::unasked() });
    }
    if let Some(fault) = &world.unreadable {
        return Err(Invalid::new(
            "UnreadableAuthority",
            format!(
                "Secret {DAPR_NAMESPACE}/{AUTHORITY} is no root and issuer: {fault}; put back what was there, or delete \
                 it for new ones, and restart every Dapr server"
            ),
        ));
    }
    let owner = Owner {
        concern: CONCERN,
        project: String::new(),
        uid: region.metadata.uid.clone().unwrap_or_default(),
        reference: None,
    };
    let authority = world.authority.as_ref();
    let anchors = authority.map_or("<generated>", |authority| authority.root.as_str());
    let of = |part: fn(&Authority) -> SecretBytes| match authority {
        Some(authority) => Datum::Given(part(authority)),
        // Only `render` shows it.
        None => Datum::Generated { prefix: String::new(), bytes: 0 },
    };
    let root = || of(|authority| secret(&authority.root));
    let root_key = of(|authority| authority.root_key.clone());
    let issuer = || of(|authority| secret(&authority.issuer));
    let issuer_key = || of(|authority| authority.issuer_key.clone());
    Ok(Plan {
        objects: vec![
            values(
                &owner,
                AUTHORITY,
                [
                    (ANCHORS_KEY, root()),
                    (ROOT_KEY, root_key),
                    (ISSUER, issuer()),
                    (ISSUER_KEY, issuer_key()),
                ],
            ),
            values(
                &owner,
                BUNDLE,
                [(ANCHORS_KEY, root()), (ISSUER, issuer()), (ISSUER_KEY, issuer_key())],
            ),
            owner.keeps::<ConfigMap>(json!({
                "metadata": {"name": BUNDLE, "namespace": DAPR_NAMESPACE},
                "data": {(ANCHORS_KEY): anchors},
            })),
        ],
        status: [("trustAnchors".to_string(), json!(anchors))].into_iter().collect(),
        ..Plan::default()
    })
}

fn secret(text: &str) -> SecretBytes {
    SecretBytes(text.as_bytes().to_vec().into())
}

fn values<const N: usize>(owner: &Owner, name: &str, data: [(&str, Datum); N]) -> Object {
    let mut object = owner.keeps::<Secret>(json!({
        "metadata": {"name": name, "namespace": DAPR_NAMESPACE},
        "type": "Opaque",
    }));
    object.data = data.into_iter().map(|(key, datum)| (key.to_string(), datum)).collect();
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_due_when_a_third_of_its_life_is_left() {
        let at = |day: i64| Timestamp::from_second(day * 86_400).unwrap();
        let year = Validity { from: at(0), until: at(366) };
        assert!(!year.is_due(at(243)));
        assert!(year.is_due(at(244)));
    }
}
