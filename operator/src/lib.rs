//! The operator: it turns a FlinCluster into a running cluster, and holds no data and no partition
//! logic itself.
//!
//! One pass over one cluster is a pipeline of small steps, each in a module of its own:
//!
//! ```text
//! observe   read what is there: objects, pods, volumes, and what the nodes say     (input)
//! validate  FlinCluster -> ValidatedCluster: parse once, then trust the types       (pure)
//! plan      what to do: hold, record the cluster's birth, or settle the objects,
//!           tell the nodes what to move, restart the next node                      (pure)
//! desired   the Kubernetes objects as they should be, one file each                 (pure)
//! apply     server-side apply of those that differ, and only those                  (output)
//! status    conditions, members, events: what people see                           (pure)
//! ```
//!
//! [`reconcile`] strings them together. Three rules hold throughout: what must never be decided twice
//! (the cluster's identity) is written to the status with a compare-and-set before anything is made
//! from it; a change that takes many passes is derived anew from the facts in each of them, and what
//! cannot be told from facts (who began it) is recorded before it is begun; and a pass that finds
//! everything as it should be writes nothing.

pub mod apply;
pub mod blueprint;
pub mod controller;
pub mod desired;
pub mod failpoint;
pub mod http;
mod leadership;
pub mod metrics;
pub mod nodes;
pub mod observe;
pub mod plan;
pub mod reconcile;
mod run;
pub mod settings;
pub mod status;
mod units;
pub mod validate;

pub use run::run;
