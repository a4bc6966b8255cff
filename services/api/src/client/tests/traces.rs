//! Every trace that a request can leave: the contents of every table, and what the other roles
//! were asked.

use std::sync::atomic::Ordering;

use tidegate_testkit::{Contents, contents};

use super::world::World;

impl World {
    /// The tables, and under names of their own the calls of the other roles.
    pub(super) async fn traces(&self) -> Contents {
        let mut traces = contents(&self.db.pool).await;
        let others = &self.others;
        let asked = [
            ("fetches", others.fetches.load(Ordering::SeqCst)),
            ("rebuilds", others.rebuilds.load(Ordering::SeqCst)),
            ("operators' calls", others.operators.calls().len()),
        ];
        for (what, count) in asked {
            let count = i64::try_from(count).expect("a small number");
            traces.insert(what.to_owned(), (count, 0));
        }
        traces
    }
}
