//! Virtual time, and the tasks that wait for it: what an operating system and a runtime are to the product.
//!
//! Nothing here happens by itself: the world moves the time from one event to the next, and lets the tasks that
//! were woken run until all of them wait again.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use crate::chance::Chance;
use crate::machine::Slot;

/// The time in microseconds since the beginning, and the timers. Clones are the same one.
#[derive(Clone, Default)]
pub struct Time(Arc<Mutex<Timers>>);

#[derive(Default)]
struct Timers {
    now_us: u64,
    waiting: BTreeMap<(u64, u64), Waker>,
    next: u64,
}

impl Time {
    /// The time.
    pub fn now_us(&self) -> u64 {
        self.timers().now_us
    }

    /// Moves the time to `to_us`, which is not before now.
    pub fn advance(&self, to_us: u64) {
        let mut timers = self.timers();
        debug_assert!(timers.now_us <= to_us, "time never goes back");
        timers.now_us = to_us;
    }

    /// When the next timer is due.
    pub fn next_us(&self) -> Option<u64> {
        self.timers().waiting.first_key_value().map(|((at, _), _)| *at)
    }

    /// Wakes everybody whose time has come.
    pub fn wake(&self) {
        loop {
            let mut timers = self.timers();
            let now_us = timers.now_us;
            let due = timers.waiting.first_entry().filter(|entry| entry.key().0 <= now_us);
            let Some(due) = due else { return };
            let waker = due.remove();
            drop(timers);
            waker.wake();
        }
    }

    /// Ends once the time is `at_us`.
    pub fn until(&self, at_us: u64) -> Until {
        Until { time: self.clone(), at_us, timer: None }
    }

    /// Ends after `for_us`.
    pub fn sleep(&self, for_us: u64) -> Until {
        self.until(self.now_us() + for_us)
    }

    fn timers(&self) -> std::sync::MutexGuard<'_, Timers> {
        self.0.lock().expect("one thread alone moves the time")
    }
}

/// A wait for a moment.
pub struct Until {
    time: Time,
    at_us: u64,
    timer: Option<u64>,
}

impl Future for Until {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let at_us = self.at_us;
        let mut timers = self.time.timers();
        if timers.now_us >= at_us {
            return Poll::Ready(());
        }
        let timer = self.timer.unwrap_or_else(|| {
            timers.next += 1;
            timers.next
        });
        timers.waiting.insert((at_us, timer), context.waker().clone());
        drop(timers);
        self.timer = Some(timer);
        Poll::Pending
    }
}

impl Drop for Until {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            self.time.timers().waiting.remove(&(self.at_us, timer));
        }
    }
}

/// Whose task it is: it ends with its owner, and stands still with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// Clients, the operator, and whoever else is outside of the cluster.
    Outside,
    /// The process that runs on a machine.
    Process(Slot),
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// The way to begin a task from anywhere. Clones are the same one.
#[derive(Clone, Default)]
pub struct Spawner(Rc<RefCell<Vec<(Owner, Task)>>>);

impl Spawner {
    /// Begins a task.
    pub fn spawn(&self, owner: Owner, task: impl Future<Output = ()> + 'static) {
        self.0.borrow_mut().push((owner, Box::pin(task)));
    }
}

/// All tasks of a world.
#[derive(Default)]
pub struct Tasks {
    spawner: Spawner,
    tasks: BTreeMap<u64, (Owner, Task)>,
    next: u64,
    woken: Arc<Mutex<BTreeSet<u64>>>,
}

struct Alarm {
    task: u64,
    woken: Arc<Mutex<BTreeSet<u64>>>,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.woken.lock().expect(POISON).insert(self.task);
    }
}

impl Tasks {
    /// The way to begin more.
    pub fn spawner(&self) -> Spawner {
        self.spawner.clone()
    }

    /// Runs what is awake, in an order of chance, until everything waits; tasks of `frozen` owners stay as they are.
    /// Returns whose tasks ran.
    pub fn run(&mut self, chance: &mut Chance, frozen: &BTreeSet<Owner>) -> BTreeSet<Owner> {
        let mut ran = BTreeSet::new();
        loop {
            self.admit();
            let owner = |task: &u64| self.tasks.get(task).map(|(owner, _)| *owner);
            let awake = self.woken.lock().expect(POISON);
            let able: Vec<u64> = awake
                .iter()
                .filter(|task| owner(task).is_none_or(|owner| !frozen.contains(&owner)))
                .copied()
                .collect();
            drop(awake);
            let Some(task) = chance.pick(&able).copied() else { return ran };
            self.woken.lock().expect(POISON).remove(&task);
            let Some((owner, mut future)) = self.tasks.remove(&task) else { continue };
            ran.insert(owner);
            let waker = Waker::from(Arc::new(Alarm { task, woken: self.woken.clone() }));
            if future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                self.tasks.insert(task, (owner, future));
            }
        }
    }

    /// Ends all tasks of `owner`.
    pub fn end(&mut self, owner: Owner) {
        self.admit();
        self.tasks.retain(|_, (of, _)| *of != owner);
    }

    fn admit(&mut self) {
        for task in std::mem::take(&mut *self.spawner.0.borrow_mut()) {
            self.next += 1;
            self.tasks.insert(self.next, task);
            self.woken.lock().expect(POISON).insert(self.next);
        }
    }
}

const POISON: &str = "one thread alone runs the tasks";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_run_when_their_time_has_come_and_not_before() {
        let (time, mut tasks, mut chance) = (Time::default(), Tasks::default(), Chance::new(1));
        let seen = Rc::new(RefCell::new(Vec::new()));
        for wait_us in [30, 10, 20] {
            let (time, seen) = (time.clone(), seen.clone());
            tasks.spawner().spawn(Owner::Outside, async move {
                time.sleep(wait_us).await;
                seen.borrow_mut().push((wait_us, time.now_us()));
            });
        }
        let none = BTreeSet::new();
        tasks.run(&mut chance, &none);
        while let Some(at_us) = time.next_us() {
            time.advance(at_us);
            time.wake();
            tasks.run(&mut chance, &none);
        }
        assert_eq!(*seen.borrow(), [(10, 10), (20, 20), (30, 30)]);
    }

    #[test]
    fn frozen_owner_goes_on_where_it_stood() {
        let (mut tasks, mut chance) = (Tasks::default(), Chance::new(1));
        let seen = Rc::new(RefCell::new(0));
        let owner = Owner::Process(Slot(1));
        let count = seen.clone();
        tasks.spawner().spawn(owner, async move { *count.borrow_mut() += 1 });
        assert!(tasks.run(&mut chance, &BTreeSet::from([owner])).is_empty());
        assert_eq!(*seen.borrow(), 0);
        assert_eq!(tasks.run(&mut chance, &BTreeSet::new()), BTreeSet::from([owner]));
        assert_eq!(*seen.borrow(), 1);
    }

    #[test]
    fn tasks_end_with_their_owner() {
        let (mut tasks, mut chance) = (Tasks::default(), Chance::new(1));
        let (alive, held) = (Rc::new(()), Owner::Process(Slot(1)));
        let inside = alive.clone();
        tasks.spawner().spawn(held, async move {
            std::future::pending::<()>().await;
            drop(inside);
        });
        tasks.run(&mut chance, &BTreeSet::new());
        assert_eq!(Rc::strong_count(&alive), 2);
        tasks.end(held);
        assert_eq!(Rc::strong_count(&alive), 1);
    }
}
