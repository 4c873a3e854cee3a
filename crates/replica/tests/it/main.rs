//! Integration tests of the replica.
