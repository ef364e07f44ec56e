//! Catalyst: turns a cluster into a self-hosted Dapr region. `run` is the only place that spawns.

pub mod agent;
mod authority;
pub mod canary;
pub mod cli;
pub mod config_stream;
pub mod controllers;
pub mod kernel;
