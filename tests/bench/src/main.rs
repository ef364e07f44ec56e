//! `make bench`: how fast the operator is, against a plain client that does the same work on the same API server.

mod drift;
mod floor;
mod load;
mod rest;
mod table;

use std::process::ExitCode;
use std::time::Instant;

use catalyst_e2e::Installation;

use crate::load::Load;
use crate::table::Table;

/// The size of the load: projects, and apps over all of them.
const PROJECTS: usize = 50;
const APPS: usize = 300;

fn main() -> ExitCode {
    let mut table = Table::default();
    let load = Load::new(PROJECTS, APPS);

    say("an installation without a load");
    let mut installation = Installation::start();
    installation.apply(load::REGION);
    installation.ready("Region", None, "eu");
    table.plain("rss_mib_at_0", rest::rss_mib(&installation), Some(20.0), "MiB");

    say(&format!("{PROJECTS} projects and {APPS} apps, first file to last Ready"));
    let mark = installation.mark();
    let client = floor::Client::new(installation.control_plane.kubeconfig(), 8);
    let began = Instant::now();
    load.send(&client);
    load.until_ready(&client);
    let took = began.elapsed();
    let writes = rest::Writes::of(&installation.writes(mark));
    let children = Load::children(&installation);

    say("the same objects by a plain client, on a fresh cluster, with 4, 8 and 16 connections");
    let best = [4, 8, 16].into_iter().map(|connections| {
        let bare = Installation::prepare();
        floor::Client::new(bare.control_plane.kubeconfig(), connections).measure(&load, &children)
    });
    let best = best.min_by(f64::total_cmp).unwrap_or(f64::INFINITY);
    table.ratio("converge_ratio_50_300", took.as_secs_f64(), best, 1.3, "s");
    #[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    {
        table.plain(
            "floor_objects_per_second",
            (children.len() + load.len()) as f64 / best,
            None,
            "1/s",
        );
        table.plain(
            "writes_per_child",
            writes.children as f64 / children.len() as f64,
            Some(1.05),
            "",
        );
        table.plain(
            "status_writes_per_object",
            writes.status as f64 / load.len() as f64,
            Some(2.0),
            "",
        );
    }

    say("foreign edits, each until it is mended");
    drift::measure(&installation, &mut table);

    say("60 s of rest");
    rest::idle(&installation, &mut table);
    table.plain("rss_mib_at_50_300", rest::rss_mib(&installation), None, "MiB");

    say("killed and started again");
    rest::restart(&mut installation, &load, &client, &mut table);

    match table.finish() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("target/bench.json can't be written: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// What is being measured, to stderr: it takes a while.
fn say(what: &str) {
    eprintln!("measuring: {what}");
}
