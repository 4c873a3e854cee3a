//! A whole Flin cluster under a seeded scheduler, with every fault there is.
//!
//! The code under test is the code that ships: worker, applier, log, router, balancer, the state machines and the
//! snapshots' frames, behind their seams. What stands in for an operating system is here: time and tasks
//! ([`kernel`]), disks that lose what was not synced ([`flin_engine::disk::MemoryDisk`]), clocks that are wrong
//! ([`clock`]), and a network that loses, doubles, delays and reorders ([`network`]).
//!
//! A seed stands for a [`plan::Plan`]: a cluster, its clients, and what befalls it. [`run::run`] plays it. While
//! it runs, [`watch`] looks at all nodes after every event, for what no single node can see: two leaders of a
//! term, two entries at one index, a replica that lives twice. Then peace comes, and the cluster has to become
//! what it was asked to be, with replicas that are alike and a history that is linearizable ([`judge`]).
//!
//! A run is a function of its plan: the same seed does the same to the byte, which a test holds. So a seed that
//! failed once is kept (`seeds.txt`) and played in every test from then on.

pub mod chance;
pub mod clients;
pub mod clock;
mod damage;
pub mod fault;
mod judge;
pub mod keeper;
pub mod kernel;
mod lives;
pub mod machine;
pub mod nemesis;
pub mod network;
pub mod plan;
pub mod record;
pub mod report;
pub mod run;
pub mod shrink;
mod snapshots;
pub mod story;
mod traffic;
mod turns;
pub mod watch;
pub mod world;
