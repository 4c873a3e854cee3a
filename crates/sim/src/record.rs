//! Seeds that failed once, one a line with what they found, kept for ever.

use std::path::Path;

use anyhow::{Context, Result, bail};

/// The seeds of a file; none if there is no such file.
///
/// # Errors
/// A file that cannot be read, or a line that is neither a seed nor a comment.
pub fn read(path: &Path) -> Result<Vec<u64>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    parse(&text).with_context(|| format!("read {}", path.display()))
}

/// Adds seeds to a file.
///
/// # Errors
/// A file that cannot be written.
pub fn add(path: &Path, seeds: &[u64]) -> Result<()> {
    let known = read(path)?;
    let fresh: Vec<_> = seeds.iter().filter(|seed| !known.contains(seed)).collect();
    if fresh.is_empty() {
        return Ok(());
    }
    let mut text = std::fs::read_to_string(path).unwrap_or_default();
    for seed in fresh {
        text.push_str(&format!("{seed}  # found by a run; say here what it was\n"));
    }
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

fn parse(text: &str) -> Result<Vec<u64>> {
    let mut seeds = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let seed = line.split('#').next().unwrap_or_default().trim();
        match seed.parse() {
            Ok(seed) => seeds.push(seed),
            Err(_) if seed.is_empty() => {}
            Err(_) => bail!("line {}: {seed:?} is no seed", at + 1),
        }
    }
    Ok(seeds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_skipped_and_nonsense_is_refused_with_its_line() {
        assert_eq!(parse("# why\n12 # lost a write\n\n7\n").unwrap(), [12, 7]);
        assert_eq!(parse("1\nx\n").unwrap_err().to_string(), "line 2: \"x\" is no seed");
    }
}
