//! What `render` can't know without a cluster: from `--facts FILE`, or the stand-ins below.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::ControlFlow;

use serde::Deserialize;

use super::decode::decode;
use super::fault::{Fault, Step, mend, way};
use super::input::Source;
use super::node::At;
use super::strict::find;
use super::yaml::parse;

/// Facts of the cluster that is planned for.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Facts {
    /// The namespace of the release. Stand-in: `catalyst-system`.
    pub(super) release_namespace: String,
    /// Whether the cluster knows Dapr's kinds. Stand-in: true.
    pub(super) dapr: bool,
    /// The cluster IPs of the DNS Service, `kube-system/kube-dns`. Stand-in: none.
    pub(super) resolvers: Vec<IpAddr>,
    /// Namespaces that stand, beside those in the files. Stand-in: none.
    pub(super) namespaces: Vec<Standing>,
}

/// A namespace that stands.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Standing {
    /// Its name.
    pub(super) name: String,
    /// Its labels.
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            release_namespace: "catalyst-system".into(),
            dapr: true,
            resolvers: Vec::new(),
            namespaces: Vec::new(),
        }
    }
}

impl Facts {
    /// Reads a facts file.
    pub(super) fn read(source: &Source) -> Result<Self, Vec<Fault>> {
        let (mut documents, mut faults) = (Vec::new(), Vec::new());
        parse(&source.bytes, |document| {
            match document {
                Ok(node) => documents.push(node),
                Err((at, message)) => faults.push(Fault::new(&source.name, at, message)),
            }
            // One is right; a second one is enough to say so.
            if documents.len() + faults.len() < 2 {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        let facts = match documents.as_slice() {
            [] => Self::default(),
            [one] => {
                let (facts, unknown) = decode::<Self>(one);
                for steps in unknown {
                    let (name, known) = match steps.as_slice() {
                        [Step::Field(name)] => (
                            name.as_str(),
                            &["releaseNamespace", "dapr", "resolvers", "namespaces"][..],
                        ),
                        [.., Step::Field(name)] => (name.as_str(), &["name", "labels"][..]),
                        _ => continue,
                    };
                    let at = find(one, &steps).unwrap_or(one.at);
                    faults.push(Fault::new(
                        &source.name,
                        at,
                        format!("{} is no fact: {}", way(&steps), mend(name, known)),
                    ));
                }
                facts.unwrap_or_else(|wrong| {
                    let message = format!("{} {}", way(&wrong.steps()), wrong.message);
                    faults.push(Fault::new(&source.name, wrong.at, message.trim_start()));
                    Self::default()
                })
            }
            _ => {
                faults.push(Fault::new(
                    &source.name,
                    At::default(),
                    "holds several documents: write all facts in one",
                ));
                Self::default()
            }
        };
        if faults.is_empty() { Ok(facts) } else { Err(faults) }
    }
}
