//! Finds exchanges in a circle of nodes that cost less than nothing (after Bellman and Ford).

use std::collections::BTreeSet;

use super::goal::{Exchange, Layout};

/// The cheapest exchange from each node to each other one.
pub(super) struct Exchanges {
    nodes: usize,
    /// Cost and partition by `from * nodes + to`; none if each partition on the one is on the other too.
    cheapest: Vec<Option<(i64, usize)>>,
}

/// A way to get from one node to another.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// A replica goes from the one to the other.
    Exchange(Exchange),
    /// To or from the surplus: where replicas cannot be shared equally, any nodes may hold one more.
    Surplus {
        /// The node, or the surplus.
        from: usize,
    },
}

impl Way {
    fn from(self) -> usize {
        match self {
            Way::Exchange(exchange) => exchange.from,
            Way::Surplus { from } => from,
        }
    }
}

impl Exchanges {
    pub(super) fn of(layout: &Layout<'_>) -> Self {
        let nodes = layout.nodes();
        let mut exchanges = Exchanges { nodes, cheapest: vec![None; nodes * nodes] };
        exchanges.refresh(layout, &(0..nodes).collect());
        exchanges
    }

    /// Brings those up to date that start from `from`: nodes that hold a partition, or held it, which
    /// has been changed.
    pub(super) fn refresh(&mut self, layout: &Layout<'_>, from: &BTreeSet<usize>) {
        for from in from.iter().copied() {
            let row = &mut self.cheapest[from * self.nodes..][..self.nodes];
            row.fill(None);
            for partition in layout.held(from).iter().copied() {
                for (to, cheapest) in row.iter_mut().enumerate() {
                    if layout.has(partition, to) {
                        continue;
                    }
                    let cost = layout.cost_of(Exchange { partition, from, to });
                    if cheapest.is_none_or(|(least, _)| cost < least) {
                        *cheapest = Some((cost, partition));
                    }
                }
            }
        }
    }

    /// Exchanges that together cost less than nothing and leave every node with its share, which is `share`
    /// or one more. The layout is even.
    pub(super) fn circle(&self, layout: &Layout<'_>, share: usize) -> Option<Vec<Exchange>> {
        let surplus = self.nodes;
        let mut cost = vec![0_i64; self.nodes + 1];
        let mut came_by: Vec<Option<Way>> = vec![None; self.nodes + 1];
        loop {
            let mut cheaper = false;
            let mut go = |from: usize, to: usize, more: i64, way: Way| {
                if cost[from] + more < cost[to] {
                    cost[to] = cost[from] + more;
                    came_by[to] = Some(way);
                    cheaper = true;
                }
            };
            for from in 0..self.nodes {
                for to in 0..self.nodes {
                    if let Some((more, partition)) = self.cheapest[from * self.nodes + to] {
                        go(from, to, more, Way::Exchange(Exchange { partition, from, to }));
                    }
                }
                if layout.held(from).len() == share {
                    go(from, surplus, 0, Way::Surplus { from });
                }
            }
            for to in (0..self.nodes).filter(|node| layout.held(*node).len() > share) {
                go(surplus, to, 0, Way::Surplus { from: surplus });
            }
            if !cheaper {
                return None;
            }
            if let Some(circle) = circle_among(&came_by) {
                return Some(circle);
            }
        }
    }
}

/// The exchanges of a circle among the ways that nodes were come to by. There is none while costs can still
/// be those of ways without one, and only a circle that costs less than nothing closes.
fn circle_among(came_by: &[Option<Way>]) -> Option<Vec<Exchange>> {
    const UNSEEN: usize = usize::MAX;
    let mut seen_from = vec![UNSEEN; came_by.len()];
    for start in 0..came_by.len() {
        let mut node = start;
        while seen_from[node] == UNSEEN {
            seen_from[node] = start;
            let Some(way) = came_by[node] else { break };
            node = way.from();
        }
        let closes = seen_from[node] == start && came_by[node].is_some();
        if closes {
            return Some(walk(came_by, node));
        }
    }
    None
}

/// The exchanges of the circle that `end` is on.
fn walk(came_by: &[Option<Way>], end: usize) -> Vec<Exchange> {
    let mut circle = Vec::new();
    let mut node = end;
    while let Some(way) = came_by[node] {
        if let Way::Exchange(exchange) = way {
            circle.push(exchange);
        }
        node = way.from();
        if node == end {
            break;
        }
    }
    circle.reverse();
    circle
}
