//! The schema holds its rules, and the committed files are what the types say.

mod drift;
mod rules;
