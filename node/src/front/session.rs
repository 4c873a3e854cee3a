//! What a connection has said about itself so far, and the commands that change it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use flin_resp::commands::Flag;
use flin_resp::{Limits, Protocol, Value};

use super::errors::{self, WRONGPASS};
use super::registry::{Card, Labels};
use super::{FrontOptions, Mode};

/// The only user, until there are users with ACLs.
const USER: &[u8] = b"default";

/// The longest name of a connection or a library.
const LABEL_BYTES_MAX: usize = 256;

/// The state of one connection.
pub(super) struct Session {
    pub(super) protocol: Protocol,
    pub(super) card: Arc<Card>,
    authenticated: bool,
}

impl Session {
    pub(super) fn new(card: Arc<Card>, options: &FrontOptions) -> Self {
        Session { protocol: Protocol::Resp2, card, authenticated: options.password.is_none() }
    }

    /// The limits of the next request.
    pub(super) fn limits(&self, options: &FrontOptions) -> Limits {
        if self.authenticated {
            options.limits
        } else {
            options.limits.min(Limits::UNAUTHENTICATED)
        }
    }

    /// Whether a command with these flags may be done now.
    pub(super) fn admits(&self, flags: &[Flag]) -> bool {
        self.authenticated || flags.contains(&Flag::NoAuth)
    }

    /// `AUTH [username] password`
    pub(super) fn auth(&mut self, arguments: &[Bytes], options: &FrontOptions) -> Value {
        match arguments {
            [_] if options.password.is_none() => errors::constant(
                "ERR AUTH <password> called without any password configured for the default user. \
                 Are you sure your configuration is correct?",
            ),
            [password] => self.authenticate(USER, password, options),
            [user, password] => self.authenticate(user, password, options),
            _ => errors::SYNTAX,
        }
    }

    fn authenticate(&mut self, user: &[u8], password: &[u8], options: &FrontOptions) -> Value {
        // The password is compared whatever the user, so that the time tells nothing about either.
        let right = options.password.as_ref().is_none_or(|secret| secret.matches(password));
        if right && user == USER {
            self.authenticated = true;
            return Value::OK;
        }
        options.stats.wrong_password();
        tracing::warn!(peer = %self.card.peer, "a client offered a wrong password");
        WRONGPASS
    }

    /// `HELLO [protover [AUTH username password] [SETNAME name]]`
    pub(super) fn hello(&mut self, arguments: &[Bytes], options: &FrontOptions) -> Value {
        let protocol = match arguments.first().map(|version| &version[..]) {
            None => self.protocol,
            Some(b"2") => Protocol::Resp2,
            Some(b"3") => Protocol::Resp3,
            Some(other) if other.iter().all(u8::is_ascii_digit) => {
                return errors::constant("NOPROTO unsupported protocol version");
            }
            Some(_) => {
                return errors::constant("ERR Protocol version is not an integer or out of range");
            }
        };
        let (mut credentials, mut name) = (None, None);
        let mut rest = arguments.get(1..).unwrap_or_default();
        loop {
            rest = match rest {
                [] => break,
                [auth, user, password, rest @ ..] if auth.eq_ignore_ascii_case(b"auth") => {
                    credentials = Some((user, password));
                    rest
                }
                [setname, label, rest @ ..] if setname.eq_ignore_ascii_case(b"setname") => {
                    name = Some(label);
                    rest
                }
                [option, ..] => {
                    let shown = String::from_utf8_lossy(option).into_owned();
                    return Value::error(format!("ERR Syntax error in HELLO option '{shown}'"));
                }
            };
        }
        if let Some(name) = name
            && let Err(error) = label(name)
        {
            return error;
        }
        if let Some((user, password)) = credentials {
            let answer = self.authenticate(user, password, options);
            if answer.is_error() {
                return answer;
            }
        }
        if !self.authenticated {
            return errors::constant(
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
                 HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and \
                 select the RESP protocol version at the same time",
            );
        }
        if let Some(Ok(name)) = name.map(label) {
            self.card.labels().name = name;
        }
        self.speak(protocol);
        greeting(self.card.id, protocol, options.mode)
    }

    /// `RESET`
    pub(super) fn reset(&mut self, options: &FrontOptions) -> Value {
        self.speak(Protocol::Resp2);
        self.authenticated = options.password.is_none();
        *self.card.labels() = Labels::default();
        Value::Simple("RESET".into())
    }

    fn speak(&mut self, protocol: Protocol) {
        self.protocol = protocol;
        self.card.protocol.store(if protocol == Protocol::Resp3 { 3 } else { 2 }, Relaxed);
    }
}

fn greeting(id: u64, protocol: Protocol, mode: Mode) -> Value {
    let version = if protocol == Protocol::Resp3 { 3 } else { 2 };
    let mode = match mode {
        Mode::Proxy => "standalone",
        Mode::Here => "cluster",
    };
    Value::Map(vec![
        (Value::text("server"), Value::text("flin")),
        (Value::text("version"), Value::text(env!("CARGO_PKG_VERSION"))),
        (Value::text("proto"), Value::Integer(version)),
        (Value::text("id"), Value::Integer(i64::try_from(id).unwrap_or(i64::MAX))),
        (Value::text("mode"), Value::text(mode)),
        (Value::text("role"), Value::text("master")),
        (Value::text("modules"), Value::Array(Vec::new())),
    ])
}

/// A name that fits into a line of CLIENT LIST.
///
/// # Errors
/// The error reply for a name that does not.
pub(super) fn label(name: &Bytes) -> Result<String, Value> {
    let printable = name.iter().all(u8::is_ascii_graphic);
    match std::str::from_utf8(name) {
        Ok(name) if printable && name.len() <= LABEL_BYTES_MAX => Ok(name.to_owned()),
        _ => Err(errors::constant(
            "ERR Client names cannot contain spaces, newlines or special characters.",
        )),
    }
}
