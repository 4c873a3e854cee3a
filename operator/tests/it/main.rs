//! Whole passes of the operator over an API server and nodes that exist only in memory. The API server
//! counts every write and can fail any of them, before or after it took effect.

mod adoption;
mod api;
mod crash;
mod forming;
mod health;
mod objects;
mod refusal;
mod rolling;
mod rollout_plan;
mod scale_plan;
mod scaling;
mod silence;
mod world;
