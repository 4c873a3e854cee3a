//! Who may call: `authorization: Bearer <client password>`.

use tonic::service::Interceptor;
use tonic::{Request, Status};

use crate::settings::Secret;

/// Lets calls pass that prove the client password; all of them when there is none.
#[derive(Clone, Debug)]
pub(super) struct Bearer {
    password: Option<Secret>,
}

const HOW: &str = "send the metadata `authorization: Bearer <client password>`";

impl Bearer {
    pub(super) fn new(password: Option<Secret>) -> Self {
        Bearer { password }
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let Some(password) = &self.password else { return Ok(request) };
        let Some(header) = request.metadata().get("authorization") else {
            return Err(Status::unauthenticated(format!("no password: {HOW}")));
        };
        match token(header.as_bytes()) {
            Some(token) if password.matches(token) => Ok(request),
            Some(_) => Err(Status::unauthenticated("wrong password")),
            None => Err(Status::unauthenticated(format!("not a bearer token: {HOW}"))),
        }
    }
}

/// The scheme's name is not case sensitive (RFC 9110, section 11.1).
fn token(header: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = header.split_at_checked(b"bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(password: Option<&str>, header: Option<&str>) -> Result<(), String> {
        let mut bearer = Bearer::new(password.map(|text| Secret::new(text.to_owned())));
        let mut request = Request::new(());
        if let Some(header) = header {
            request.metadata_mut().insert("authorization", header.parse().unwrap());
        }
        bearer.call(request).map(|_| ()).map_err(|status| status.message().to_owned())
    }

    #[test]
    fn only_the_password_opens() {
        assert_eq!(call(Some("hunter2"), Some("Bearer hunter2")), Ok(()));
        assert_eq!(call(Some("hunter2"), Some("bearer hunter2")), Ok(()));
        assert_eq!(call(Some("hunter2"), Some("Bearer hunter")), Err("wrong password".into()));
        assert!(call(Some("hunter2"), Some("Basic aHVudGVyMg==")).unwrap_err().contains("Bearer"));
        assert!(call(Some("hunter2"), None).unwrap_err().contains("authorization: Bearer"));
        assert_eq!(call(None, None), Ok(()));
    }
}
