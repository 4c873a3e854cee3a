//! The commands, one file each.

pub(crate) mod bench;
pub(crate) mod dev;
pub(crate) mod down;
pub(crate) mod fuzz;
pub(crate) mod generate;
pub(crate) mod images;
pub(crate) mod sim;
pub(crate) mod test;
pub(crate) mod tidy;
pub(crate) mod up;
