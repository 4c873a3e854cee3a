//! The way to a node: its address, the password, and a deadline on every call.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use flin_proto::admin::admin_client::AdminClient;
use flin_proto::admin::{
    Cluster, ConfigureRequest, GetClusterRequest, ListPartitionsRequest, Partition, RecoverRequest,
    RecoverResponse, SetDrainingRequest,
};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::failure::{Failure, innermost};

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a call may take. A node looks for a leader for 5 s and waits for a majority for 10 s.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// The largest answer: 1,024 partitions and 1,000 members take far less.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// The file with the password in the environment of a node, where this program runs beside it.
const NODES_PASSWORD_FILE: &str = "FLIN_CLIENT_PASSWORD_FILE";

/// Whom to ask, and with which password.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Whom {
    /// The gRPC port of any node
    #[arg(
        long,
        global = true,
        env = "FLIN_ADDRESS",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:6381"
    )]
    address: String,
    /// A file that holds the client password; else the password in FLIN_PASSWORD or REDISCLI_AUTH, or in the
    /// file that FLIN_CLIENT_PASSWORD_FILE names
    #[arg(long, global = true, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// A connection to a node.
#[derive(Clone)]
pub(crate) struct Connection {
    address: String,
    admin: AdminClient<InterceptedService<Channel, Proof>>,
}

/// Adds the password to every call.
#[derive(Clone)]
struct Proof(Option<MetadataValue<Ascii>>);

impl Interceptor for Proof {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(proof) = &self.0 {
            request.metadata_mut().insert("authorization", proof.clone());
        }
        Ok(request)
    }
}

impl Connection {
    /// Connects to the node that `whom` names.
    ///
    /// # Errors
    /// [`Failure::Address`], [`Failure::Connect`], and those of a password that cannot be used.
    pub(crate) async fn open(whom: &Whom) -> Result<Connection, Failure> {
        let proof = Proof(proof(whom, |name| std::env::var(name).ok())?);
        let address = whom.address.clone();
        let endpoint = endpoint(&address)?;
        let channel = endpoint.connect().await.map_err(|error| Failure::Connect {
            address: address.clone(),
            reason: innermost(&error),
        })?;
        let admin = AdminClient::with_interceptor(channel, proof)
            .max_decoding_message_size(ANSWER_BYTES_MAX);
        Ok(Connection { address, admin })
    }

    /// The cluster as the node knows it.
    pub(crate) async fn cluster(&mut self) -> Result<Cluster, Failure> {
        let answer = self.admin.get_cluster(GetClusterRequest {}).await;
        answer.map(tonic::Response::into_inner).map_err(|status| self.failure(&status))
    }

    /// Every partition, in order.
    pub(crate) async fn partitions(&mut self) -> Result<Vec<Partition>, Failure> {
        let answer = self.admin.list_partitions(ListPartitionsRequest {}).await;
        answer.map(|answer| answer.into_inner().partitions).map_err(|status| self.failure(&status))
    }

    /// Has exactly the nodes of `request` emptied.
    pub(crate) async fn set_draining(
        &mut self,
        request: SetDrainingRequest,
    ) -> Result<(), Failure> {
        let answer = self.admin.set_draining(request).await;
        answer.map(|_| ()).map_err(|status| self.failure(&status))
    }

    /// Changes how replicas are moved.
    pub(crate) async fn configure(&mut self, request: ConfigureRequest) -> Result<(), Failure> {
        let answer = self.admin.configure(request).await;
        answer.map(|_| ()).map_err(|status| self.failure(&status))
    }

    /// Does the next step of a recovery, or only tells what is left.
    pub(crate) async fn recover(
        &mut self,
        request: RecoverRequest,
    ) -> Result<RecoverResponse, Failure> {
        let answer = self.admin.recover(request).await;
        answer.map(tonic::Response::into_inner).map_err(|status| self.failure(&status))
    }

    fn failure(&self, status: &Status) -> Failure {
        Failure::of(status, &self.address)
    }
}

fn endpoint(address: &str) -> Result<Endpoint, Failure> {
    let wrong = || Failure::Address(address.to_owned());
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    if host.is_empty() || port.parse::<u16>().is_err() {
        return Err(wrong());
    }
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|_| wrong())?;
    Ok(endpoint.connect_timeout(CONNECT_TIMEOUT).timeout(CALL_TIMEOUT).tcp_nodelay(true))
}

/// The proof to send: of the file that was given; else of the first of two variables; else of the file that a
/// third one names, as it does in the pods of a cluster. A variable that is empty is none.
fn proof(
    whom: &Whom,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<MetadataValue<Ascii>>, Failure> {
    let filled = |name| variable(name).filter(|text| !text.is_empty());
    if let Some(path) = &whom.password_file {
        return proof_of_file(path).map(Some);
    }
    for name in ["FLIN_PASSWORD", "REDISCLI_AUTH"] {
        if let Some(password) = filled(name) {
            return bearer(&password).map(Some).ok_or(Failure::PasswordCharacters(name));
        }
    }
    filled(NODES_PASSWORD_FILE).map(|path| proof_of_file(Path::new(&path))).transpose()
}

fn proof_of_file(path: &Path) -> Result<MetadataValue<Ascii>, Failure> {
    let wrong = |words: String| Failure::PasswordFile { path: path.to_owned(), words };
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    match text.trim() {
        "" => Err(wrong("it is empty".into())),
        password => bearer(password)
            .ok_or_else(|| wrong("it holds a character that is not visible ASCII".into())),
    }
}

fn bearer(password: &str) -> Option<MetadataValue<Ascii>> {
    let visible = password.bytes().all(|byte| byte.is_ascii_graphic());
    let mut value: MetadataValue<Ascii> =
        format!("Bearer {password}").parse().ok().filter(|_| visible)?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Whom {
        pub(crate) fn of(address: &str, password_file: Option<PathBuf>) -> Whom {
            Whom { address: address.into(), password_file }
        }
    }

    fn whom(password_file: Option<PathBuf>) -> Whom {
        Whom::of("127.0.0.1:6381", password_file)
    }

    fn sent(whom: &Whom, variables: &[(&str, &str)]) -> Result<Option<String>, u8> {
        let get = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned())
        };
        let value = proof(whom, get).map_err(|failure| failure.exit_code())?;
        Ok(value.map(|value| value.to_str().unwrap().to_owned()))
    }

    #[test]
    fn password_is_that_of_the_file_or_of_the_first_variable() {
        let both = [("REDISCLI_AUTH", "redis"), ("FLIN_PASSWORD", "flin")];
        assert_eq!(sent(&whom(None), &[]), Ok(None));
        assert_eq!(sent(&whom(None), &both), Ok(Some("Bearer flin".into())));
        assert_eq!(sent(&whom(None), &both[..1]), Ok(Some("Bearer redis".into())));
        assert_eq!(
            sent(&whom(None), &[("FLIN_PASSWORD", ""), both[0]]),
            Ok(Some("Bearer redis".into()))
        );
        assert_eq!(sent(&whom(None), &[("FLIN_PASSWORD", "two words")]), Err(2));

        let file = std::env::temp_dir().join(format!("flin-cli-password-{}", std::process::id()));
        fs::write(&file, "secret\n").unwrap();
        assert_eq!(sent(&whom(Some(file.clone())), &both), Ok(Some("Bearer secret".into())));
        fs::write(&file, "\n").unwrap();
        assert_eq!(sent(&whom(Some(file.clone())), &both), Err(2));
        fs::remove_file(&file).unwrap();
        assert_eq!(sent(&whom(Some(file)), &both), Err(2));
    }

    #[test]
    fn beside_a_node_its_password_file_is_used_when_nothing_else_is_said() {
        let [file, other] = ["node", "given"].map(|name| {
            std::env::temp_dir().join(format!("flin-cli-{name}-password-{}", std::process::id()))
        });
        fs::write(&file, "of-the-node\n").unwrap();
        fs::write(&other, "given\n").unwrap();
        let beside = ("FLIN_CLIENT_PASSWORD_FILE", file.to_str().unwrap());
        let redis = ("REDISCLI_AUTH", "redis");
        assert_eq!(sent(&whom(None), &[beside]), Ok(Some("Bearer of-the-node".into())));
        assert_eq!(sent(&whom(None), &[beside, redis]), Ok(Some("Bearer redis".into())));
        assert_eq!(sent(&whom(Some(other.clone())), &[beside]), Ok(Some("Bearer given".into())));
        assert_eq!(sent(&whom(None), &[("FLIN_CLIENT_PASSWORD_FILE", "")]), Ok(None));
        fs::remove_file(&file).unwrap();
        assert_eq!(sent(&whom(None), &[beside]), Err(2));
        assert_eq!(sent(&whom(None), &[beside, redis]), Ok(Some("Bearer redis".into())));
        fs::remove_file(&other).unwrap();
    }

    #[test]
    fn address_needs_host_and_port() {
        for address in ["127.0.0.1:6381", "node-0.flin:6381", "[::1]:6381"] {
            assert!(endpoint(address).is_ok(), "{address}");
        }
        for address in ["", "node-0", "node-0:", ":6381", "node-0:70000", "no de:1"] {
            assert_eq!(endpoint(address).unwrap_err().exit_code(), 2, "{address}");
        }
    }

    #[tokio::test]
    async fn nobody_there_is_told_with_the_next_step() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let whom = Whom::of(&address, None);
        let Err(failure) = Connection::open(&whom).await else { panic!("nobody listens there") };
        assert_eq!(failure.exit_code(), 1);
        let text = failure.to_string();
        assert!(text.contains(&address) && text.contains("Connection refused"), "{text}");
        assert!(text.contains("--address"), "{text}");
    }
}
