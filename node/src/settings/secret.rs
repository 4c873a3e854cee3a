//! Values that must never be shown.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use subtle::ConstantTimeEq;

/// The longest secret that is read, in bytes; a larger file is surely not a secret.
pub const SECRET_BYTES_MAX: usize = 4_096;

/// A password or shared secret: visible ASCII, never printed, compared in constant time.
#[derive(Clone)]
pub struct Secret(String);

/// Why a file does not hold a secret. The content is never part of it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read {path}; check that it is mounted and readable by this user")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Nothing is left after trimming.
    #[error("{path} is empty; write the secret into it, or name no file")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// More than [`SECRET_BYTES_MAX`].
    #[error("{path} holds {bytes} bytes; a secret has at most {SECRET_BYTES_MAX}")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: usize,
    },
    /// A character that cannot travel in a header.
    #[error("{path} holds a character that is not visible ASCII; use letters, digits and signs")]
    NotVisibleAscii {
        /// The file.
        path: PathBuf,
    },
}

impl Secret {
    /// Wraps a text that is known to be visible ASCII, for instance one made by this program.
    pub fn new(text: String) -> Self {
        Secret(text)
    }

    /// Reads a file and trims white space at both ends, such as the newline that editors add.
    ///
    /// # Errors
    /// [`SecretError`], which names the file and says what to do.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let named = || path.to_owned();
        let bytes =
            fs::read(path).map_err(|source| SecretError::Unreadable { path: named(), source })?;
        let secret = bytes.trim_ascii();
        if secret.is_empty() {
            return Err(SecretError::Empty { path: named() });
        }
        if secret.len() > SECRET_BYTES_MAX {
            return Err(SecretError::TooLong { path: named(), bytes: secret.len() });
        }
        if !secret.iter().all(u8::is_ascii_graphic) {
            return Err(SecretError::NotVisibleAscii { path: named() });
        }
        let text = String::from_utf8(secret.to_owned()).expect("visible ASCII is UTF-8");
        Ok(Secret(text))
    }

    /// The secret itself, to be sent to whoever asks for proof and nowhere else.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `attempt` is the secret. Takes as long whichever byte differs.
    pub fn matches(&self, attempt: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(attempt).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.0.as_bytes())
    }
}

impl Eq for Secret {}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8]) -> Result<Secret, SecretError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), content).unwrap();
        Secret::read(file.path())
    }

    #[test]
    fn secret_is_trimmed_and_never_shown() {
        let secret = read(b" hunter2\n").unwrap();
        assert!(secret.matches(b"hunter2"));
        assert!(!secret.matches(b"hunter"));
        assert!(!secret.matches(b"hunter2\n"));
        assert_eq!(format!("{secret:?}"), "Secret(redacted)");
    }

    #[test]
    fn what_is_no_secret_is_refused_without_being_quoted() {
        assert!(matches!(read(b" \n"), Err(SecretError::Empty { .. })));
        assert!(matches!(read(&[b'x'; 5_000]), Err(SecretError::TooLong { bytes: 5_000, .. })));
        let error = read(b"two words").unwrap_err();
        assert!(matches!(error, SecretError::NotVisibleAscii { .. }));
        assert!(!error.to_string().contains("words"));
    }
}
