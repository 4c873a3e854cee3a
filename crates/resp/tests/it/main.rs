//! Properties of the codec that hold for every input and every way to cut it.

mod codec;
mod commands;
