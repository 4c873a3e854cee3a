//! Waiting for something to become true, with a deadline, and with a story when it does not.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep, timeout};

/// How long to wait between two looks.
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);
/// How long one look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);
/// How many different sights a story tells; the oldest are forgotten.
const STORY_LENGTH: usize = 12;

/// What one look showed.
pub(crate) enum Seen<T> {
    /// The condition holds.
    Yes(T),
    /// It does not, and this is what is there instead.
    NotYet(String),
}

impl Seen<()> {
    /// `Yes` when `holds`, else what is there instead.
    pub(crate) fn when(holds: bool, instead: impl Into<String>) -> Self {
        if holds { Self::Yes(()) } else { Self::NotYet(instead.into()) }
    }
}

/// Looks again and again until the condition holds. A look that fails counts as one that saw the error:
/// the API server may be away for a moment, and a deadline is there anyway.
///
/// # Errors
/// After `patience`, with the last sights and when they were seen.
pub(crate) async fn await_condition<T, F, L>(what: &str, patience: Duration, look: F) -> Result<T>
where
    F: Fn() -> L,
    L: Future<Output = Result<Seen<T>>>,
{
    let begin = Instant::now();
    let mut sights: Vec<(Duration, String)> = Vec::new();
    loop {
        let sight = match timeout(LOOK_TIMEOUT, look()).await {
            Ok(Ok(Seen::Yes(value))) => return Ok(value),
            Ok(Ok(Seen::NotYet(instead))) => instead,
            Ok(Err(error)) => format!("error: {error:#}"),
            Err(_) => format!("no answer in {} s", LOOK_TIMEOUT.as_secs()),
        };
        if sights.last().is_none_or(|(_, last)| *last != sight) {
            sights.push((begin.elapsed(), sight));
            if sights.len() > STORY_LENGTH {
                sights.remove(0);
            }
        }
        if begin.elapsed() >= patience {
            bail!("not in {} s: {what}{}", patience.as_secs(), story(&sights));
        }
        sleep(BETWEEN_LOOKS).await;
    }
}

fn story(sights: &[(Duration, String)]) -> String {
    let mut story = String::from("\n  what was seen instead, and since when:");
    for (since, sight) in sights {
        write!(story, "\n  {:7.1} s  {sight}", since.as_secs_f64())
            .expect("strings take everything");
    }
    story
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_condition_that_comes_true_gives_its_value() {
        let looks = Cell::new(0);
        let found = await_condition("three looks", Duration::from_secs(5), async || {
            looks.set(looks.get() + 1);
            Ok(if looks.get() == 3 { Seen::Yes(7) } else { Seen::NotYet("not three".into()) })
        });
        assert_eq!(found.await.expect("comes true"), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn a_condition_that_stays_false_tells_what_was_seen() {
        let looks = Cell::new(0);
        let failed = await_condition("never", Duration::from_secs(2), async || {
            looks.set(looks.get() + 1);
            if looks.get() > 3 {
                return Err(anyhow::anyhow!("gone"));
            }
            Ok(Seen::<()>::NotYet("one pod".into()))
        });
        let text = failed.await.expect_err("stays false").to_string();
        assert!(text.starts_with("not in 2 s: never"), "{text}");
        assert_eq!(text.matches("one pod").count(), 1, "{text}");
        assert!(text.ends_with("error: gone"), "{text}");
    }
}
