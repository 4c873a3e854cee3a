//! What can go wrong, what to do about it, and the exit code that tells a script.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | no node could be asked, or it cannot answer now |
//! | 2 | something that was told to the program is wrong |
//! | 10 | the cluster is not healthy |
//! | 11 | the cluster refused |

use std::error::Error;
use std::path::PathBuf;

use tonic::{Code, Status};

/// For the help of the program.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0   done
  1   no node could be asked, or it cannot answer now
  2   something that was told to the program is wrong
  10  the cluster is not healthy (status)
  11  the cluster refused";

/// Why the program ends with another code than 0. The words are for a person: what is wrong, and below
/// that what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Nobody answers.
    #[error(
        "cannot connect to {address}: {reason}\n\
         check that a node is running there and that this is its gRPC port (6381), or name another one with \
         --address HOST:PORT or FLIN_ADDRESS"
    )]
    Connect { address: String, reason: String },
    /// The node is there and cannot answer, or the connection broke.
    #[error(
        "{address} cannot do this now: {words}\ntry again in a moment, or ask another node with --address"
    )]
    TryLater { address: String, words: String },
    /// The node answered something unexpected.
    #[error(
        "{address} answered {code:?}: {words}\n\
         compare its version with that of this program (flin --version)"
    )]
    Unexpected { address: String, code: Code, words: String },
    /// It could not be seen how the draining ends.
    #[error("{source}\nthe draining goes on; `flin cluster members` shows how far it is")]
    LostSight { source: Box<Failure> },
    /// The answer cannot be written.
    #[error("cannot write the answer: {0}")]
    Output(#[from] std::io::Error),
    /// The address is none.
    #[error("`{0}` is not an address\ngive it as HOST:PORT, for example 127.0.0.1:6381")]
    Address(String),
    /// The password is missing or wrong.
    #[error(
        "{address} wants the client password: {words}\n\
         give it with --password-file FILE, FLIN_PASSWORD or REDISCLI_AUTH"
    )]
    Password { address: String, words: String },
    /// The file holds no password.
    #[error("cannot use {path} as password: {words}")]
    PasswordFile { path: PathBuf, words: String },
    /// An environment variable holds no password.
    #[error("the password in {0} holds a character that is not visible ASCII")]
    PasswordCharacters(&'static str),
    /// The node found something wrong in what it was asked.
    #[error("{0}")]
    Invalid(String),
    /// No member is called so.
    #[error("no node is called `{given}`\nthe members are {members}")]
    UnknownNode { given: String, members: String },
    /// The cluster works badly or not at all.
    #[error(
        "the cluster is not healthy: {0}\n`flin cluster members` and `flin cluster partitions` show where"
    )]
    Unhealthy(String),
    /// It contradicts what is.
    #[error("refused: {0}")]
    Refused(String),
    /// What cannot be taken back was not asked for in full.
    #[error(
        "refused: nothing is changed without your word\n\
         if the disks of these nodes are lost for good, say --accept-data-loss"
    )]
    NoConsent,
    /// A recovery did not come to its end.
    #[error("{source}\nthe recovery is not at its end; say the same again once that is mended")]
    NotRecovered { source: Box<Failure> },
    /// Somebody else wanted something else.
    #[error(
        "{node} is not being drained any more: somebody took it back\nsay `flin cluster drain` again if it still is to be empty"
    )]
    TakenBack { node: String },
}

impl Failure {
    /// What the answer of the node at `address` means.
    pub(crate) fn of(status: &Status, address: &str) -> Failure {
        let (address, words) = (address.to_owned(), status.message().to_owned());
        // What the node did not say itself comes from the connection.
        if let Some(error) = status.source() {
            return Failure::Connect { address, reason: innermost(error) };
        }
        match status.code() {
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => {
                Failure::TryLater { address, words }
            }
            Code::Unauthenticated | Code::PermissionDenied => Failure::Password { address, words },
            Code::InvalidArgument | Code::OutOfRange => Failure::Invalid(words),
            Code::FailedPrecondition => Failure::Refused(words),
            code => Failure::Unexpected { address, code, words },
        }
    }

    /// The exit code of the program.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Failure::Connect { .. }
            | Failure::TryLater { .. }
            | Failure::Unexpected { .. }
            | Failure::LostSight { .. }
            | Failure::NotRecovered { .. }
            | Failure::Output(_) => 1,
            Failure::Address(_)
            | Failure::Password { .. }
            | Failure::PasswordFile { .. }
            | Failure::PasswordCharacters(_)
            | Failure::Invalid(_)
            | Failure::UnknownNode { .. } => 2,
            Failure::Unhealthy(_) => 10,
            Failure::Refused(_) | Failure::NoConsent | Failure::TakenBack { .. } => 11,
        }
    }
}

/// The cause that a person can do something about: the last one.
pub(crate) fn innermost(error: &dyn Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_code_says_what_a_script_can_do() {
        let rows = [
            (Status::unavailable("no leader"), 1),
            (Status::deadline_exceeded("too late"), 1),
            (Status::unimplemented("unknown method"), 1),
            (Status::unauthenticated("wrong password"), 2),
            (Status::invalid_argument("max_moves must be from 1 to 64, not 0"), 2),
            (Status::failed_precondition("2 nodes remain"), 11),
        ];
        for (status, code) in rows {
            let failure = Failure::of(&status, "a:1");
            assert_eq!(failure.exit_code(), code, "{status}");
            assert!(failure.to_string().contains(status.message()), "{failure}");
        }
        assert_eq!(Failure::Unhealthy("1 of 3 nodes is silent".into()).exit_code(), 10);
    }

    #[test]
    fn every_code_is_in_the_help() {
        for code in [0, 1, 2, 10, 11] {
            let line = |line: &str| line.trim_start().starts_with(&format!("{code} "));
            assert!(EXIT_CODES.lines().any(line), "{code}");
        }
    }
}
