//! What the fence of a project promises, checked by reading the rendered NetworkPolicies as Kubernetes specifies them.

#![cfg(test)]

mod laws;
mod promises;
mod rules;
mod verdict;
mod world;
