//! Whether the node is ready, also while it is no node yet.

use std::sync::{Arc, RwLock};

use flin_groups::board::Board;

use crate::http::Health;

/// How far the node has got. The HTTP port asks from the very beginning: a node that takes its time to join the
/// cluster or to read its log is alive.
#[derive(Default)]
pub(super) struct Readiness(RwLock<Stage>);

#[derive(Default)]
enum Stage {
    #[default]
    Opening,
    Joining,
    Running(Arc<Board>),
}

impl Readiness {
    pub(super) fn set_joining(&self) {
        *self.0.write().expect(POISON) = Stage::Joining;
    }

    /// From now on `board` knows.
    pub(super) fn set_running(&self, board: Arc<Board>) {
        *self.0.write().expect(POISON) = Stage::Running(board);
    }
}

impl Health for Readiness {
    fn ready(&self) -> Result<(), String> {
        match &*self.0.read().expect(POISON) {
            Stage::Opening => Err("the node is opening its data".into()),
            Stage::Joining => Err("the node is joining the cluster".into()),
            Stage::Running(board) => board.ready(),
        }
    }
}

const POISON: &str = "no thread panics while it holds the stage";
