//! `catalyst render`: what the controllers would apply for these files, without a cluster.

mod decode;
mod facts;
mod fault;
mod input;
mod manifests;
mod node;
mod offline;
mod schema;

mod snapshot;
mod standing;
mod strict;
#[cfg(test)]
mod tests;
mod yaml;

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use self::facts::Facts;
pub use self::fault::Fault;
use self::manifests::Manifests;
pub use self::offline::Judged;
use self::offline::{Outcome, Planned};
pub use self::snapshot::{Snapshot, snapshot};
pub use self::standing::uid;
use super::{Format, show};

/// Print what the controllers would apply for these files, without a cluster.
///
/// The manifests go to stdout in the order in which they would be applied; one line of verdict for
/// each of your objects, and notes, go to stderr. Secret values are never printed.
///
/// The files are read strictly: unknown fields, keys that are there twice and wrong types are
/// errors with file, line and column. A Namespace in the files counts as one that stands, and so
/// does a Secret in the namespace catalyst-secrets; other kinds are ignored.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  catalyst render -f gitops/                           everything in a folder
  catalyst render -f region.yaml -f shop/ -o json      several, as one JSON List
  kustomize build overlays/eu | catalyst render -f -   what a build makes
  catalyst render -f gitops/ >/dev/null                only the verdicts, as a check in CI

Facts of the cluster (--facts facts.yaml), with their stand-ins:
  releaseNamespace: catalyst-system   # where Catalyst itself runs
  dapr: true                          # whether the cluster has Dapr's CRDs
  resolvers: []                       # cluster IPs of the Service kube-system/kube-dns
  namespaces:                         # what stands beside the files; none
  - {name: prj-shop, labels: {cra.diagrid.io/project: shop}}
UIDs are made from kind, namespace and name.

Exit code: 0 all would be Ready; 1 something would not, or can't be read; 2 wrong usage.")]
pub(in crate::cli) struct Render {
    /// A file, a folder with all *.yaml, *.yml and *.json in it, or - for stdin; may be repeated.
    #[arg(short, long = "filename", required = true, num_args = 1.., value_name = "PATH")]
    filename: Vec<PathBuf>,
    /// How the manifests are printed.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    /// A YAML file with facts of the cluster.
    #[arg(long, value_name = "FILE")]
    facts: Option<PathBuf>,
}

impl Render {
    /// Returns whether everything would be Ready.
    pub(super) fn run(
        &self,
        stdin: &mut dyn Read,
        out: &mut dyn Write,
        err: &mut dyn Write,
    ) -> io::Result<bool> {
        let (facts, mut faults) = match &self.facts {
            None => (Facts::default(), Vec::new()),
            Some(path) => read_facts(path),
        };
        let (sources, unreadable) = input::read(&self.filename, stdin);
        faults.extend(unreadable);
        let manifests = match Manifests::read(&sources, faults) {
            Ok(manifests) => manifests,
            Err(faults) => {
                faults.iter().try_for_each(|fault| writeln!(err, "error: {fault}"))?;
                return Ok(false);
            }
        };
        for (kind, count) in &manifests.ignored {
            let objects = if *count == 1 { "object" } else { "objects" };
            writeln!(
                err,
                "note: ignored {count} {objects} of kind {kind}, which Catalyst does not plan from"
            )?;
        }
        if manifests.count() == 0 {
            writeln!(
                err,
                "note: nothing to plan: no object of {} in the files",
                catalyst_crds::GROUP
            )?;
        }
        let outcome = match offline::play(manifests, &facts) {
            Ok(outcome) => outcome,
            Err(message) => {
                writeln!(err, "error: {message}")?;
                return Ok(false);
            }
        };
        self.print(&outcome, out)?;
        let mut ready = true;
        for judged in outcome.judged() {
            writeln!(err, "{}", snapshot::verdict(&judged))?;
            ready &= snapshot::is_ready(&judged);
        }
        Ok(ready)
    }

    fn print(&self, outcome: &Outcome, out: &mut dyn Write) -> io::Result<()> {
        let mut items = outcome.planned.iter().map(Planned::manifest);
        match self.output {
            Format::Yaml => items.try_for_each(|item| {
                out.write_all(show::yaml(&item).map_err(io::Error::other)?.as_bytes())
            }),
            Format::Json => show::json_list(out, items),
        }
    }
}

fn read_facts(path: &Path) -> (Facts, Vec<Fault>) {
    let read = input::read_one(path).and_then(|source| Facts::read(&source));
    match read {
        Ok(facts) => (facts, Vec::new()),
        Err(faults) => (Facts::default(), faults),
    }
}
