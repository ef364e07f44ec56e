//! Catalyst: turns a cluster into a self-hosted Dapr region. `run` is the only place that spawns.

pub mod agent;
pub mod canary;
pub mod cli;
pub mod controllers;
pub mod kernel;
