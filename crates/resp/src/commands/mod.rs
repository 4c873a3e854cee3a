//! The commands that Flin knows: what a client may ask `COMMAND` about, and what the front checks a
//! request against before it looks at the arguments.

mod docs;
mod table;

pub use docs::markdown;

use bytes::Bytes;

/// One command.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    /// Its name in lower case.
    pub name: &'static str,
    /// The number of arguments with the name itself; negative: at least that many.
    pub arity: i32,
    /// What Redis calls flags, in its spelling.
    pub flags: &'static [Flag],
    /// Which arguments are keys.
    pub keys: Keys,
    /// What happens when it names keys of several slots.
    pub scope: Scope,
    /// Where it belongs in the documentation.
    pub group: Group,
    /// The arguments, as in Redis's documentation.
    pub syntax: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// The commands below it, such as `CLIENT ID`; their names are without the container's.
    pub subcommands: &'static [Command],
}

/// A property of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// May change data.
    Write,
    /// Reads data.
    ReadOnly,
    /// May make data grow.
    DenyOom,
    /// For an administrator.
    Admin,
    /// Takes constant or logarithmic time.
    Fast,
    /// Answered before the cluster serves.
    Loading,
    /// Answered before authentication.
    NoAuth,
}

impl Flag {
    /// The name that `COMMAND` answers.
    pub fn name(self) -> &'static str {
        match self {
            Flag::Write => "write",
            Flag::ReadOnly => "readonly",
            Flag::DenyOom => "denyoom",
            Flag::Admin => "admin",
            Flag::Fast => "fast",
            Flag::Loading => "loading",
            Flag::NoAuth => "no_auth",
        }
    }
}

/// Which arguments are keys, counted from the command's name at 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// None of them.
    None,
    /// Every `step`-th from `first` to `last`; a negative `last` counts from the end (-1 is the last).
    Range {
        /// The first key.
        first: usize,
        /// The last key.
        last: isize,
        /// The distance between keys.
        step: usize,
    },
}

/// What a command's effects cover at one moment, and what it answers for keys of several slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Touches no data.
    Connection,
    /// One key, linearizable.
    Key,
    /// Several keys: the part in each partition is atomic, the whole is not. Port 6384 answers CROSSSLOT
    /// unless all keys share a slot.
    PartitionEach,
    /// Every partition in turn: on port 6380 of the cluster, on 6384 those that the node leads.
    Partitions,
    /// Every partition of the cluster on both ports, each atomically, the whole not.
    Cluster,
}

/// A chapter of the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Values as such.
    String,
    /// Keys of any type.
    Generic,
    /// About the connection itself.
    Connection,
    /// About the node.
    Server,
    /// About the cluster's topology.
    Cluster,
}

impl Group {
    /// The name that `COMMAND DOCS` answers.
    pub fn name(self) -> &'static str {
        match self {
            Group::String => "string",
            Group::Generic => "generic",
            Group::Connection => "connection",
            Group::Server => "server",
            Group::Cluster => "cluster",
        }
    }
}

/// Every command, ordered by name.
pub fn all() -> &'static [Command] {
    table::COMMANDS
}

/// The command called `name`, in any case of letters.
pub fn find(name: &[u8]) -> Option<&'static Command> {
    position(name).map(|at| &table::COMMANDS[at])
}

/// Where [`all`] has the command called `name`, for counters kept in an array.
pub fn position(name: &[u8]) -> Option<usize> {
    const NAME_BYTES_MAX: usize = 16;
    let mut lower = [0_u8; NAME_BYTES_MAX];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    table::COMMANDS.binary_search_by(|command| command.name.as_bytes().cmp(lower)).ok()
}

impl Command {
    /// The command below this one that is called `name`, in any case of letters.
    pub fn subcommand(&self, name: &[u8]) -> Option<&'static Command> {
        self.subcommands.iter().find(|command| command.name.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Whether a request of `count` arguments, the name among them, has the right number.
    pub fn accepts(&self, count: usize) -> bool {
        let least = usize::try_from(self.arity.unsigned_abs()).unwrap_or(usize::MAX);
        if self.arity < 0 { count >= least } else { count == least }
    }

    /// Whether it has this flag.
    pub fn has(&self, flag: Flag) -> bool {
        self.flags.contains(&flag)
    }

    /// The keys among `arguments`, which begin with the command's name.
    pub fn keys<'a>(&self, arguments: &'a [Bytes]) -> impl Iterator<Item = &'a Bytes> + use<'a> {
        let (range, step) = match self.keys {
            Keys::None => (0..0, 1),
            Keys::Range { first, last, step } => {
                let end = match usize::try_from(last) {
                    Ok(last) => last + 1,
                    Err(_from_the_end) => (arguments.len() + 1).saturating_sub(last.unsigned_abs()),
                };
                let end = end.min(arguments.len());
                (first.min(end)..end, step)
            }
        };
        arguments[range].iter().step_by(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(request: &[&'static str]) -> Vec<Bytes> {
        let arguments: Vec<Bytes> =
            request.iter().map(|word| Bytes::from_static(word.as_bytes())).collect();
        find(&arguments[0]).expect("the command exists").keys(&arguments).cloned().collect()
    }

    #[test]
    fn the_table_is_ordered_and_lower_case() {
        assert!(all().windows(2).all(|pair| pair[0].name < pair[1].name));
        assert!(all().iter().all(|command| command.name.len() <= 16));
        assert!(all().iter().all(|c| c.name.bytes().all(|b| b.is_ascii_lowercase())));
    }

    #[test]
    fn names_are_found_in_any_case() {
        assert_eq!(find(b"GeT").map(|command| command.name), Some("get"));
        assert_eq!(find(b"nonsense"), None);
        assert_eq!(find(&[b'a'; 1000]), None);
        assert_eq!(find(b""), None);
    }

    #[test]
    fn keys_are_where_the_table_says() {
        assert_eq!(keys(&["get", "a"]), ["a"]);
        assert_eq!(keys(&["set", "a", "b", "ex", "1"]), ["a"]);
        assert_eq!(keys(&["mget", "a", "b", "c"]), ["a", "b", "c"]);
        assert_eq!(keys(&["mset", "a", "1", "b", "2"]), ["a", "b"]);
        assert_eq!(keys(&["ping"]), [""; 0]);
        assert_eq!(keys(&["get"]), [""; 0]);
    }

    #[test]
    fn arity_counts_the_name() {
        let get = find(b"get").expect("GET exists");
        assert!(get.accepts(2) && !get.accepts(1) && !get.accepts(3));
        let del = find(b"del").expect("DEL exists");
        assert!(del.accepts(2) && del.accepts(9) && !del.accepts(1));
    }
}
