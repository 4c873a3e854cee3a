//! Tests of the state machines from outside, on a store that is nothing but a sorted map.

mod codec;
mod golden;
mod limits;
mod model;
mod partition;
mod properties;
mod strategies;
